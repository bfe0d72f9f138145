-- Deadlocks: when nothing can ever run again, an error says who waits for what, and where.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python

local here = debug.getinfo(1, "S").short_src

--- The error that moonlet.run(f) raises.
local function failure(f)
    local ok, err = pcall(moonlet.run, f)
    assert.is_false(ok)
    return err
end

--- Without addresses, lines and times.
local function plain(text)
    return (tostring(text):gsub("for [%d.]+ s", "for N s"):gsub(":%d+", ":N"):gsub("0x%x+", "ADDRESS"))
end

local namespace = support.python [[
    import moonlet

    def wait_for(task):
        task.join()

    def call(f):
        return f()
]]

describe("a deadlock", function()
    it("is raised by who has called run", function()
        local err = failure(function()
            local first, second
            first = moonlet.spawn(function()
                second:join()
            end)
            second = moonlet.spawn(function()
                first:join()
            end)
            first.name, second.name = "first", "second"
        end)
        assert.is_true(py.isinstance(err, moonlet.Deadlock))
        local text = plain(err)
        assert.matches("deadlock: nothing can ever run again\n", text, 1, true)
        assert.matches("\n  first waits: join on task: second, waiting, for N s\n", text, 1, true)
        assert.matches("\n  second waits: join on task: first, waiting, for N s\n", text, 1, true)
    end)

    it("ends the tasks, which can clean up", function()
        local log = {}
        failure(function()
            local t
            t = moonlet.spawn(function()
                local _ <close> = setmetatable({}, {
                    __close = function()
                        log[#log + 1] = "closed"
                    end,
                })
                t.locals.other:join()
            end)
            t.locals.other = moonlet.spawn(function()
                t:join()
            end)
        end)
        assert.same({ "closed" }, log)
        assert.equal("go on", moonlet.run(function()
            moonlet.sleep(0.001)
            return "go on"
        end))
    end)

    it("tells where a Lua task waits, without the frames of the scheduler", function()
        local err = failure(function()
            local t
            local function inner()
                t.locals.other:join()
            end
            t = moonlet.spawn(function()
                inner()
                return 1
            end)
            t.locals.other = moonlet.spawn(function()
                t:join()
            end)
        end)
        local text = plain(err)
        local expected = "for N s\n  \tFILE:N: in upvalue 'inner'\n  \tFILE:N: in function"
        assert.matches((expected:gsub("FILE", here)), text, 1, true)
        assert.is_nil(text:find("moonlet/hub.lua", 1, true))
    end)

    it("tells where a Python task waits", function()
        local err = failure(function()
            local first, second
            first = moonlet.spawn(function()
                namespace.wait_for(second)
            end)
            second = moonlet.spawn(namespace.wait_for, first)
        end)
        local text = plain(err)
        assert.matches("(wait_for) waits: join on task", text, 1, true)
        assert.matches("in Python function 'wait_for'\n  \t[C]: in field 'wait_for'\n  \t" .. here, text, 1, true)
    end)

    it("lists the frames of both languages in their order", function()
        local err = failure(function()
            local first, second
            local function in_lua()
                namespace.wait_for(second)
                return 1
            end
            first = moonlet.spawn(namespace.call, in_lua)
            first.name = "first"
            second = moonlet.spawn(function()
                first:join()
            end)
        end)
        local stack = plain(err):match "first waits: [^\n]*\n(.-)\n  task"
        local order = {}
        for name in stack:gmatch "in ([^\n]+)" do
            order[#order + 1] = name:gsub(" <.*", "")
        end
        assert.same({ "Python function 'wait_for'", "field 'wait_for'", "function", "Python function 'call'" }, order)
    end)

    it("shows a wait in a coroutine with who has resumed that", function()
        local err = failure(function()
            local t
            local function in_coroutine()
                t.locals.other:join()
                return 1
            end
            t = moonlet.spawn(function()
                coroutine.wrap(function()
                    in_coroutine()
                    return 1
                end)()
                return 1
            end)
            t.locals.other = moonlet.spawn(function()
                t:join()
            end)
        end)
        local stack = plain(err):match "waits: [^\n]*\n(.-)\n  task"
        local expected = "in upvalue 'in_coroutine'\nLINEin function <LINE\nLINE%[C%]: in LINE\nLINEin function <"
        assert.matches((expected:gsub("LINE", "[^\n]*")), stack)
    end)

    it("is told of many tasks in few lines", function()
        local err = failure(function()
            local t
            t = moonlet.spawn(function()
                t.locals.other:join()
            end)
            t.locals.other = moonlet.spawn(function()
                t:join()
            end)
            for _ = 1, 200 do
                moonlet.spawn(function()
                    t:join()
                end)
            end
        end)
        local text = tostring(err)
        assert.matches("\n  and 102 more$", text)
        assert.is_true(#text < 30000)
    end)

    it("is told of a deep recursion in few lines", function()
        local err = failure(function()
            local t
            local function deep(n)
                if n == 0 then
                    t.locals.other:join()
                else
                    deep(n - 1)
                end
                return 1
            end
            t = moonlet.spawn(deep, 150)
            t.locals.other = moonlet.spawn(function()
                t:join()
            end)
        end)
        assert.matches("\t...\t(skipping ", tostring(err), 1, true)
    end)

    it("is raised in the main task where that waits outside of run", function()
        local output, status = support.child [[
            local moonlet = require "moonlet"
            local t = moonlet.spawn(function() moonlet.current_task().locals.me:join() end)
            local u = moonlet.spawn(function() t:join() end)
            t.locals.me = u
            print(pcall(u.join, u))
        ]]
        assert.matches("^false\tmoonlet.Deadlock: deadlock: nothing can ever run again\n", output)
        assert.matches("\n  main waits: join on task: ", output, 1, true)
        assert.equal(0, status)
    end)

    it("can be caught in Python", function()
        local caught = support.python [[
            import moonlet

            def main():
                def wait():
                    other.join()
                task = moonlet.spawn(wait)
                other = moonlet.spawn(task.join)

            def run():
                try:
                    moonlet.run(main)
                except moonlet.Deadlock as e:
                    return str(e)
        ]].run()
        assert.matches("deadlock: nothing can ever run again\n", caught, 1, true)
        assert.matches("in Python function 'wait'", caught, 1, true)
    end)

    it("ends a nursery whose tasks are shielded from its cancel", function()
        for _, start in ipairs { "moonlet.run(main)", "main()" } do
            local output, status = support.child([[
                local moonlet = require "moonlet"
                local function main()
                    local ok, err = pcall(moonlet.nursery, function(n)
                        n:spawn(moonlet.shield, function() moonlet.event():wait() end)
                    end)
                    print(ok, (tostring(err):gsub("\n.*", "")))
                end
            ]] .. start)
            assert.matches("moonlet.Deadlock: deadlock: nothing can ever run again\n", output)
            assert.equal(start == "main()" and 0 or 1, status)
        end
    end)

    it("is none while a timer is set", function()
        assert.equal("late", moonlet.run(function()
            return moonlet.spawn_later(0.01, function()
                return "late"
            end):join()
        end))
    end)

    it("is raised in a greenlet that nobody has spawned, where the main one has switched to it", function()
        local output = support.child [[
            local moonlet = require "moonlet"
            local channel = moonlet.channel()
            local g = moonlet.greenlet(function()
                local ok, err = pcall(channel.receive, channel)
                return tostring(err)
            end)
            print(g:switch())
        ]]
        assert.matches("^moonlet.Deadlock: deadlock: nothing can ever run again\n  task %d+ waits: receive", output)
    end)
end)
