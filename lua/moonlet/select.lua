-- select: waits for the first of several things.
--
-- Each case is a part of the wait (see hub.wake), in the list of what it waits for; whoever wakes one has
-- ended the whole. Those that are left in other lists are taken out when the task goes on.

local hub = require "moonlet.hub"
local task = require "moonlet.task"
local waiting = require "moonlet.waiting"
local waitlist = require "moonlet.waitlist"

local select = {}

local kinds, Case = waiting.kinds, waiting.Case
local remove = waitlist.remove
local turn = 0 -- how many cases were taken

-- --------------------------------------------------------------------------------------- tasks

local joining = { what = "join", stamp = "served" }

function joining.ready(t)
    return t.finished
end

joining.take = task.outcome

function joining.list(t)
    t.joiners = t.joiners or {}
    return t.joiners
end

joining.finish = task.outcome

kinds[task.meta] = joining

function task.methods.on_join(t)
    waiting.check(t, task.meta, "on_join")
    return waiting.case(joining, t)
end

-- --------------------------------------------------------------------------------------- cases

local function kind_of(case)
    local meta = getmetatable(case)
    if meta == Case then
        return case.kind, case.on
    end
    return kinds[meta], case
end

local function check(cases, n, first)
    local any = false
    for i = 1, n do
        local case = cases[i]
        if case then
            any = true
            if type(case) ~= "table" or not kind_of(case) then
                local text = "bad case %d of 'select' (a channel, queue, event, task, future or case expected, got %s)"
                hub.misuse("TypeError", text:format(i - 1 + first, hub.type_name(case)))
            end
        end
    end
    return any
end

-- Which case can go on without waiting: of several the one whose turn is longest ago.
local function choose(cases, n)
    local chosen, oldest
    for i = 1, n do
        local case = cases[i]
        if case then
            local kind, on = kind_of(case)
            if kind.ready(on) then
                local stamp = on[kind.stamp] or 0
                if not chosen or stamp < oldest then
                    chosen, oldest = i, stamp
                end
            end
        end
    end
    return chosen
end

local function stamp(kind, on)
    turn = turn + 1
    on[kind.stamp] = turn
end

-- --------------------------------------------------------------------------------------- waits

local function remove_parts(main)
    local parts = main.parts
    for i = 1, #parts do
        remove(parts[i])
    end
end

local Parts = {}

function Parts.__tostring(parts)
    local texts = {}
    for i, part in ipairs(parts) do
        texts[i] = part.kind.what .. " " .. tostring(part.on)
    end
    return table.concat(texts, "; ")
end

-- The entry of the wait, with its parts. To be made before it is decided that it has to wait: garbage may be
-- collected here, whose finalizers may do what is waited for.
local function make(cases, n)
    local parts = setmetatable({}, Parts)
    local main = { task = hub.self(), what = "select", on = parts, parts = parts, undo = remove_parts, fired = false }
    for i = 1, n do
        local case = cases[i]
        if case then
            local kind, on = kind_of(case)
            local part = { whole = main, index = i, kind = kind, on = on, to = kind.list(on) }
            if case ~= on then
                part.value, part.priority = case.value, case.priority
            end
            parts[#parts + 1] = part
        end
    end
    return main
end

-- What has ended first, or nil.
local function wait(main, timeout)
    local parts = main.parts
    for i = 1, #parts do
        waitlist.push(parts[i].to, parts[i])
    end
    local woken = hub.wait(main, timeout)
    remove_parts(main)
    return woken and main.fired
end

local function check_timeout(timeout)
    if type(timeout) ~= "number" then
        hub.misuse("TypeError", "bad timeout of 'select' (seconds expected, got " .. hub.type_name(timeout) .. ")")
    elseif timeout < 0 or timeout ~= timeout then
        local text = "bad timeout of 'select' (seconds expected that are not negative, got %s)"
        hub.misuse("ValueError", text:format(timeout))
    end
end

-- The cases are counted from `first`.
local function run(cases, n, timeout, default, first)
    if timeout ~= nil then
        check_timeout(timeout)
        timeout = timeout < math.huge and timeout or nil
    end
    if not check(cases, n, first) and not timeout and not default then
        hub.misuse("ValueError", "select would wait for ever: it has no case, timeout or default")
    end
    hub.pass()
    local i = choose(cases, n)
    local main
    if not i and not default and timeout ~= 0 then
        main = make(cases, n)
        i = choose(cases, n)
    end
    if i then
        local case = cases[i]
        local kind, on = kind_of(case)
        stamp(kind, on)
        return i - 1 + first, kind.take(on, case, i - 1 + first)
    elseif default then
        return "default"
    elseif timeout == 0 then
        return "timeout"
    end
    local part = wait(main, timeout)
    if not part then
        return "timeout"
    end
    stamp(part.kind, part.on)
    i = part.index - 1 + first
    return i, part.kind.finish(part.on, part, i)
end

--- moonlet.select(cases): waits until one of the cases in a list can go on, does it, and returns its index
--- and its results: a channel receives, a queue gets, an event is waited for, a task is joined, a future's
--- value is taken; ch:on_send(v), q:on_put(v) and the other methods of such names are cases, too; false is
--- one that never can. Errors are those of what is done; Closed has the `index` of the case. Fields of the
--- list: `timeout`, seconds after which "timeout" is returned instead; `default`, if true: "default" is
--- returned instead of waiting. If several can go on, it is the one whose turn is longest ago.
function select.select(cases)
    if type(cases) ~= "table" or getmetatable(cases) ~= nil then
        hub.bad_argument(1, "select", "table of cases", cases)
    end
    return run(cases, #cases, cases.timeout, cases.default, 1)
end
select.select = hub.facing(select.select)

--- For Python.
function select.run(timeout, default, ...)
    local cases = table.pack(...)
    return run(cases, cases.n, timeout, default, 0)
end

return select
