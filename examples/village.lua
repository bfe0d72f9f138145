-- Python drives Lua: the scheduler in village_clock.py wakes, alarms and ends villagers, each of
-- whom is a greenlet that runs a plain Lua function.
--
--     moonlet village.lua
--
-- To wait, a villager switches to the clock, from wherever it happens to be: in a callback of
-- string.gsub, in the comparison of table.sort, in Python's sorted, in a pcall. A Lua coroutine
-- could yield in none but the last of these.

local moonlet = require "moonlet"
local py = moonlet.python

local here = arg[0]:match "^(.*)/" or "."
py.import("sys").path:insert(0, here)
local village = py.import "village_clock"

local clock
local function say(name, text)
    local time = math.tointeger(clock.now)
    print(("%02d:%02d  %-8s %s"):format(8 + time // 60, time % 60, name, text))
end
clock = village.Clock(say)

local function me() return moonlet.current().name end
local function wait(minutes) return moonlet.current().parent:switch(minutes) end

local minutes = { mixes = 10, kneads = 20, rests = 45, bakes = 40 }
clock:add("baker", function()
    local sentence = "mixes, kneads, rests, bakes"
    sentence:gsub("%a+", function(step)
        say(me(), step)
        wait(minutes[step])
    end)
    say(me(), "sells bread")
end)

clock:add("clerk", function()
    local books = { "Walden", "Emma", "Ulysses", "Dracula", "Middlemarch" }
    table.sort(books, function(a, b)
        wait(5) -- comparing takes time
        return a < b
    end)
    say(me(), "has sorted " .. table.concat(books, ", "))
end)

clock:add("teacher", function()
    local essays = { "On sheep and their ways", "Rain", "My uncle, a hero" }
    local marked = py.builtins.sorted(essays, py.kw { -- Python sees the keys: 1, 2, 3
        key = function(i)
            wait(2 * #essays[i])
            say(me(), "has read '" .. essays[i] .. "'")
            return -#essays[i]
        end,
    })
    say(me(), "likes '" .. essays[marked[0]] .. "' best")
end)

clock:add("tinker", function()
    wait(25)
    error { reason = "no more tin" } -- any Lua value; Python finds it in LuaError.value
end)

clock:add("guard", function()
    local lantern <close> = setmetatable({ owner = me() }, {
        __close = function(self) say(self.owner, "puts the lantern out") end,
    })
    say(lantern.owner, "lights a lantern")
    while true do
        say(me(), "walks around")
        local ok, problem = pcall(wait, 60)
        if not ok then
            -- A pcall that catches everything would also catch what ends a greenlet.
            if not py.isinstance(problem, village.Alarm) then error(problem, 0) end
            say(me(), "runs to the " .. problem.place)
            wait(20)
        end
    end
end)

clock:alarm(75, "guard", "bakery")
clock:run(150)

print "\nWho has been busiest?"
for villager in py.iter(clock:ranking(function(villager) return -villager.turns end)) do
    print(("%-8s %d turns"):format(villager.name, villager.turns))
end
