-- Trace hooks, traces in the Chrome trace event format, and the watchdog.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local json = py.import "json"

--- What the trace function is told while f runs as a task.
local function events_of(f)
    local log = {}
    moonlet.run(function()
        local known = {}
        moonlet.set_trace(function(event, task, detail, on)
            if task then
                known[task] = known[task] or task.label or "?"
            end
            log[#log + 1] = { event, task, detail, on }
        end)
        f()
        moonlet.set_trace(nil)
    end)
    return log
end

local function names(log)
    local list = {}
    for i, item in ipairs(log) do
        list[i] = item[1]
    end
    return table.concat(list, " ")
end

describe("moonlet.set_trace", function()
    it("tells of spawn, wait, switch and end", function()
        local t
        local log = events_of(function()
            t = moonlet.spawn(function() end)
            t:join()
        end)
        assert.equal("spawn wait switch end switch", names(log))
        assert.equal(t, log[1][2])
        assert.same({ "join", t }, { log[2][3], log[2][4] })
        assert.equal(t, log[3][2])
        assert.equal(t, log[4][2])
        assert.equal(log[2][2], log[5][2])
    end)

    it("tells of yields, idle times and cancels with their reasons", function()
        local t
        local log = events_of(function()
            t = moonlet.spawn(moonlet.sleep, 10)
            moonlet.sleep()
            t:cancel "enough"
            moonlet.wait_all { t }
            moonlet.sleep(0.001)
        end)
        assert.equal("spawn wait switch wait switch cancel wait switch end switch wait idle switch", names(log))
        assert.equal("yield", log[2][3])
        assert.equal("sleep", log[4][3])
        assert.same({ t, "enough" }, { log[6][2], log[6][3] })
    end)

    it("returns the function that there was", function()
        local function f() end
        assert.is_nil(moonlet.set_trace(f))
        assert.equal(f, moonlet.set_trace(nil))
        assert.is_nil(moonlet.set_trace(nil))
    end)

    it("reports the error of the function, and calls it no more", function()
        local reported = {}
        local before = moonlet.on_error(function(text, err)
            reported[#reported + 1] = text .. ": " .. tostring(err)
        end)
        local calls = 0
        moonlet.run(function()
            moonlet.set_trace(function()
                calls = calls + 1
                error("oops", 0)
            end)
            moonlet.sleep()
            moonlet.sleep()
        end)
        moonlet.on_error(before)
        assert.equal(1, calls)
        assert.same({ "error in the trace function, which is not called any more: oops" }, reported)
    end)

    it("does not let the function wait", function()
        local reported
        local before = moonlet.on_error(function(_, err)
            reported = tostring(err)
        end)
        moonlet.run(function()
            moonlet.set_trace(function()
                moonlet.sleep(1)
            end)
            moonlet.sleep()
        end)
        moonlet.on_error(before)
        assert.matches("a trace function cannot wait", reported)
    end)

    it("takes functions of Python", function()
        local namespace = support.python [[
            import moonlet
            log = []

            def trace(event, task=None, detail=None, on=None):
                log.append((event, detail))

            def main():
                assert moonlet.set_trace(trace) is None
                moonlet.sleep(0.001)
                assert moonlet.set_trace(None) is trace
        ]]
        moonlet.run(namespace.main)
        assert.equal("[('wait', 'sleep'), ('idle', None), ('switch', None)]", tostring(namespace.log))
    end)

    it("refuses what cannot be called", function()
        assert.equal("bad argument #1 to 'set_trace' (function or Python callable expected, got number)",
            support.message(moonlet.set_trace, 1))
    end)
end)

--- The events in a trace file, which is removed.
local function read(name)
    local file <close> = assert(io.open(name))
    local list = json.loads(file:read "a")
    os.remove(name)
    return list
end

local function select_events(list, phase, name)
    local found = {}
    for event in py.iter(list) do
        if event.ph == phase and (not name or event.name == name) then
            found[#found + 1] = event
        end
    end
    return found
end

describe("moonlet.trace_to", function()
    it("writes a track for each task, with when it runs", function()
        local name = os.tmpname()
        moonlet.run(function()
            local trace <close> = moonlet.trace_to(name)
            assert.equal("trace: " .. name, tostring(trace))
            local t = moonlet.spawn(moonlet.sleep, 0.001)
            t.name = 'a "b" \n \xff \\'
            t:join()
        end)
        local list = read(name)
        local named = {}
        for _, event in ipairs(select_events(list, "M", "thread_name")) do
            named[event.args.name] = event.tid
        end
        local track = assert(named['a "b" \n ÿ \\'])
        local open = 0
        local slices = 0
        for event in py.iter(list) do
            if event.tid == track and event.ph == "B" then
                slices, open = slices + 1, open + 1
            elseif event.tid == track and event.ph == "E" then
                open = open - 1
            end
        end
        assert.same({ 2, 0 }, { slices, open })
    end)

    it("writes spawns, waits, cancels and ends", function()
        local name = os.tmpname()
        moonlet.run(function()
            local trace = moonlet.trace_to(name)
            local t = moonlet.spawn(moonlet.sleep, 10)
            moonlet.sleep()
            t:cancel "why"
            moonlet.wait_all { t }
            trace:close()
            trace:close()
        end)
        local list = read(name)
        assert.equal(1, #select_events(list, "i", "spawn"))
        local waits = {}
        for i, event in ipairs(select_events(list, "i", "wait")) do
            waits[i] = event.args.what
        end
        assert.same({ "yield", "sleep", "join" }, waits)
        assert.equal("why", select_events(list, "i", "cancel")[1].args.reason)
        assert.equal("cancelled", select_events(list, "i", "end")[1].args.status)
        assert.equal(1, #select_events(list, "s", "spawn"))
        assert.equal(1, #select_events(list, "f", "spawn"))
    end)

    it("has times that do not go back", function()
        local name = os.tmpname()
        moonlet.run(function()
            local _ <close> = moonlet.trace_to(name)
            for _ = 1, 50 do
                moonlet.spawn(moonlet.sleep, 0.001)
            end
            moonlet.sleep(0.01)
        end)
        local last = 0
        for event in py.iter(read(name)) do
            if event.ph ~= "M" then
                assert.is_true(event.ts >= last)
                last = event.ts
            end
        end
    end)

    it("raises OSError for a file that cannot be opened", function()
        local err = support.error_of(moonlet.trace_to, "/nonexistent/trace.json")
        assert.is_true(py.isinstance(err, py.builtins.FileNotFoundError))
        assert.matches("No such file or directory: '/nonexistent/trace.json'", tostring(err))
        assert.equal("bad argument #1 to 'trace_to' (path expected, got nil)", support.message(moonlet.trace_to))
    end)

    it("reports what cannot be written", function()
        local reported
        local before = moonlet.on_error(function(text, err)
            reported = text .. ": " .. tostring(err)
        end)
        local ok, trace = pcall(moonlet.trace_to, "/dev/full")
        if ok then
            trace:close()
            assert.matches("the trace /dev/full cannot be written: No space left on device", reported)
        else
            assert.matches("No space left on device", tostring(trace))
        end
        moonlet.on_error(before)
    end)

    it("works beside a trace function and another trace, from Python", function()
        local one, two = os.tmpname(), os.tmpname()
        local count = 0
        moonlet.run(function()
            moonlet.set_trace(function()
                count = count + 1
            end)
            local _ <close> = moonlet.trace_to(one)
            support.python([[
                import moonlet

                def main(name):
                    with moonlet.trace_to(name) as trace:
                        assert isinstance(trace, moonlet.Trace)
                        moonlet.sleep(0.001)
            ]]).main(two)
            moonlet.set_trace(nil)
        end)
        assert.is_true(count > 0)
        assert.equal(1, #select_events(read(one), "i", "wait"))
        assert.equal(1, #select_events(read(two), "i", "wait"))
    end)
end)

describe("moonlet.set_watchdog", function()
    it("reports tasks that run long without waiting, and where they wait at last", function()
        local reported = {}
        local before = moonlet.on_error(function(text, err, task)
            if task.name == "busy" then -- a busy machine makes others slow, too
                reported[#reported + 1] = { text, tostring(err), task }
            end
        end)
        assert.is_nil(moonlet.set_watchdog(0.01))
        local t
        moonlet.run(function()
            t = moonlet.spawn(function()
                local stop = moonlet.now() + 0.02
                while moonlet.now() < stop do
                    support.work()
                end
                moonlet.sleep()
                return 1
            end)
            t.name = "busy"
            t:join()
            moonlet.spawn(moonlet.sleep, 0.02):join()
        end)
        assert.equal(0.01, moonlet.set_watchdog(nil))
        moonlet.on_error(before)
        assert.equal(1, #reported)
        assert.matches("^busy has run for 0%.%d+ seconds without waiting$", reported[1][1])
        assert.matches("^\t[^\n]*trace_spec.lua:%d+: in ", reported[1][2])
        assert.equal(t, reported[1][3])
    end)

    it("refuses what is no time", function()
        assert.equal("bad argument #1 to 'set_watchdog' (seconds expected, got string)",
            support.message(moonlet.set_watchdog, "x"))
        assert.equal("bad argument #1 to 'set_watchdog' (seconds expected that are not negative, got -1)",
            support.message(moonlet.set_watchdog, -1))
    end)
end)
