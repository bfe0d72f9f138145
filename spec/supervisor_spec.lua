-- Supervisors: who starts what again, and when they give up.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python

local log

--- What a child runs: lives so long, then returns or fails; the log has "+name" and "-name".
local function worker(name, life, fails)
    return function()
        log[#log + 1] = "+" .. name
        local _ <close> = setmetatable({}, {
            __close = function()
                log[#log + 1] = "-" .. name
            end,
        })
        moonlet.sleep(life)
        if fails then
            error(name .. " fails", 0)
        end
    end
end

--- The log of a run under a virtual clock.
local function log_of(f)
    log = {}
    moonlet.run(function()
        local clock <close> = moonlet.virtual_clock()
        f(clock)
    end)
    return table.concat(log, " ")
end

--- Runs a supervisor that fails: its error.
local function failure(options)
    local ok, err = pcall(function()
        moonlet.supervisor(options):join()
    end)
    assert.is_false(ok)
    return err
end

describe("a supervisor", function()
    it("starts its children in order and ends when all have ended for good", function()
        assert.equal("+a +b -a -b", log_of(function()
            moonlet.supervisor({
                children = {
                    { name = "a", start = worker("a", 1), restart = "transient" },
                    { name = "b", start = worker("b", 2), restart = "temporary" },
                },
            }):join()
        end))
        moonlet.run(function()
            moonlet.supervisor({ children = {} }):join()
        end)
    end)

    it("gives the start its arguments, nil among them", function()
        moonlet.run(function()
            local got
            moonlet.supervisor({
                children = {
                    { start = function(...) got = table.pack(...) end, restart = "temporary", 1, nil, 3 },
                },
            }):join()
            assert.same({ 1, nil, 3, n = 3 }, got)
        end)
    end)

    it("names the tasks of its children, which are in the tree", function()
        log_of(function()
            local s = moonlet.supervisor { name = "top", children = { { name = "a", start = worker("a", 10) } } }
            moonlet.sleep(1)
            assert.matches("top: waiting[^\n]*\n  top: open\n    a: waiting", tostring(moonlet.tasks()))
            s:cancel()
        end)
    end)

    it("starts a permanent child again, however it has ended", function()
        assert.equal("+a -a +a -a +a -a +a -a", log_of(function()
            failure { children = { { start = worker("a", 1) } } }
        end))
        assert.equal("+a -a +a -a", log_of(function()
            failure { intensity = 1, children = { { start = worker("a", 1, true) } } }
        end))
    end)

    it("starts a transient child again after an error only", function()
        assert.equal("+a -a", log_of(function()
            moonlet.supervisor({ children = { { start = worker("a", 1), restart = "transient" } } }):join()
        end))
        assert.equal("+a -a +a -a", log_of(function()
            failure { intensity = 1, children = { { start = worker("a", 1, true), restart = "transient" } } }
        end))
    end)

    it("starts a temporary child never again", function()
        assert.equal("+a -a", log_of(function()
            moonlet.supervisor({ children = { { start = worker("a", 1, true), restart = "temporary" } } }):join()
        end))
    end)

    it("one_for_one: starts the one that has ended", function()
        assert.equal("+a +b +c -b +b -b -c -a", log_of(function()
            failure {
                intensity = 1,
                children = { worker("a", 100), worker("b", 1, true), worker("c", 100) },
            }
        end))
    end)

    it("one_for_all: ends the others, the last first, and starts all", function()
        assert.equal("+a +b +c -b -c -a +a +b +c -b -c -a", log_of(function()
            failure {
                strategy = "one_for_all",
                intensity = 1,
                children = { worker("a", 100), worker("b", 1, true), worker("c", 100) },
            }
        end))
    end)

    it("rest_for_one: so those after it", function()
        assert.equal("+a +b +c -b -c +b +c -b -c -a", log_of(function()
            failure {
                strategy = "rest_for_one",
                intensity = 1,
                children = { worker("a", 100), worker("b", 1, true), worker("c", 100) },
            }
        end))
    end)

    it("fails with the last error as the cause when there are too many restarts", function()
        log_of(function()
            local err = failure { children = { { name = "a", start = worker("a", 1, true) } } }
            assert.is_true(py.isinstance(err, py.builtins.RuntimeError))
            assert.equal("RuntimeError: supervisor: more than 3 restarts within 5 seconds; the last one to end was a",
                tostring(err))
            assert.matches("a fails", tostring(err.__cause__))
        end)
    end)

    it("lets sys.exit of a child through", function()
        local _, status = support.child [[
            local moonlet = require "moonlet"
            local sys = moonlet.python.import "sys"
            moonlet.run(function()
                moonlet.supervisor({ children = { function() sys.exit(7) end } }):join()
            end)
        ]]
        assert.equal(support.lua == support.program and 7 or 1, status)
        local err = failure { children = { function() py.import("sys").exit(7) end } }
        assert.is_true(py.isinstance(err, py.builtins.SystemExit))
    end)

    it("goes on when restarts are rarer than that", function()
        log_of(function()
            local s = moonlet.supervisor { intensity = 1, period = 5, children = { worker("a", 6, true) } }
            assert.is_false(s:wait(100))
            s:cancel()
        end)
    end)

    it("waits before a restart, longer each time", function()
        local times = {}
        log_of(function()
            local start = moonlet.now()
            failure {
                intensity = 4, period = 100, backoff = 1, max_backoff = 3,
                children = {
                    function()
                        times[#times + 1] = math.floor(moonlet.now() - start + 0.5)
                        error "no"
                    end,
                },
            }
        end)
        assert.same({ 0, 1, 3, 6, 9 }, times)
    end)

    it("that is cancelled ends its children, the last first", function()
        assert.equal("+a +b -b -a", log_of(function()
            local s = moonlet.supervisor { children = { worker("a", 100), worker("b", 100) } }
            moonlet.sleep(1)
            assert.is_true(s:cancel "enough")
            assert.equal("moonlet.TaskCancelled: supervisor was cancelled: enough",
                tostring(support.error_of(s.join, s)))
        end))
    end)

    it("gives a child its time to end, then ends its shielded waits, too", function()
        log_of(function()
            local ended
            local s = moonlet.supervisor {
                children = {
                    {
                        shutdown = 2,
                        start = function()
                            local ok = require("moonlet.native").pcall(moonlet.shield, moonlet.sleep, 1000)
                            ended = { ok, moonlet.now() }
                        end,
                    },
                },
            }
            moonlet.sleep(1)
            local start = moonlet.now()
            s:cancel()
            s:wait()
            assert.is_false(ended[1])
            assert.equal(2, math.floor(ended[2] - start + 0.5))
        end)
    end)

    it("can be a child of another one", function()
        assert.equal("+a +b -b -a", log_of(function()
            local s = moonlet.supervisor {
                children = {
                    {
                        name = "inner",
                        start = moonlet.supervise,
                        { children = { worker("a", 100), worker("b", 100) } },
                    },
                },
            }
            moonlet.sleep(1)
            s:cancel()
            s:wait()
        end))
    end)

    it("does not report the errors of its children", function()
        local reported = 0
        local before = moonlet.on_error(function()
            reported = reported + 1
        end)
        log_of(function()
            moonlet.supervisor({ children = { { start = worker("a", 1, true), restart = "temporary" } } }):join()
        end)
        support.collect()
        moonlet.on_error(before)
        assert.equal(0, reported)
    end)

    it("refuses wrong options", function()
        local function message(options)
            return support.message(moonlet.supervisor, options)
        end
        assert.equal("bad argument #1 to 'supervisor' (table expected, got nil)", message(nil))
        assert.equal("bad option 'children' of 'supervisor' (list of children expected, got nil)", message {})
        assert.equal("unknown option 'x' of 'supervisor'", message { x = 1, children = {} })
        local strategies = "'one_for_all', 'one_for_one', 'rest_for_one'"
        assert.equal(("bad option 'strategy' of 'supervisor' (%s expected, got x)"):format(strategies),
            message { strategy = "x", children = {} })
        assert.equal("bad option 'intensity' of 'supervisor' (number expected, got 'x')",
            message { intensity = "x", children = {} })
        assert.equal("bad option 'period' of 'supervisor' (0 or more expected, got -1)",
            message { period = -1, children = {} })
        assert.equal("bad option 'start' of child 1 of 'supervisor' (function or Python callable expected, got number)",
            message { children = { { start = 1 } } })
        assert.equal("unknown option 'y' of child 'a' of 'supervisor'",
            message { children = { { name = "a", start = print, y = 1 } } })
        local restarts = "'permanent', 'temporary', 'transient'"
        assert.equal(("bad option 'restart' of child 1 of 'supervisor' (%s expected, got x)"):format(restarts),
            message { children = { { start = print, restart = "x" } } })
        assert.equal("two children of 'supervisor' have the name 'a'",
            message { children = { { name = "a", start = print }, { name = "a", start = print } } })
    end)

    it("is there in Python", function()
        local namespace = support.python [[
            import moonlet

            def fail(value):
                raise ValueError(value)

            def main():
                task = moonlet.supervisor([{"start": fail, "args": (b"\xff",), "name": "f"}], intensity=1)
                assert isinstance(task, moonlet.Task)
                try:
                    task.join()
                except RuntimeError as e:
                    return str(e), repr(e.__cause__)

            def wrong(*args, **kwargs):
                try:
                    moonlet.supervisor(*args, **kwargs)
                except Exception as e:
                    return type(e).__name__ + ": " + str(e)

            results = [wrong([1]), wrong([{"start": fail, "x": 1}]), wrong([fail], strategy="x")]
        ]]
        local text, cause = moonlet.run(namespace.main)
        assert.equal("supervisor: more than 1 restarts within 5 seconds; the last one to end was f", text)
        assert.equal("ValueError(b'\\xff')", cause)
        assert.equal("TypeError: a child is a callable or a dict, not int", namespace.results[0])
        assert.equal("ValueError: unknown option 'x' of a child", namespace.results[1])
        assert.matches("^ValueError: bad option 'strategy' of 'supervisor'", namespace.results[2])
    end)
end)
