-- Cancel scopes, deadlines and shields; cancels that cannot be swallowed.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python

local run, spawn, sleep = moonlet.run, moonlet.spawn, moonlet.sleep

local function is_cancel(err)
    return py.isinstance(err, moonlet.Cancelled)
end

--- Runs f as the main task with a clock that jumps: the seconds that have passed, and what f returns.
local function timed(f)
    local clock <close> = moonlet.virtual_clock()
    local start = clock:now()
    local results = table.pack(run(f))
    return math.floor((clock:now() - start) * 1000 + 0.5) / 1000, table.unpack(results, 1, results.n)
end

describe("task:cancel", function()
    it("ends the task where it waits; who joins it learns why", function()
        run(function()
            local t = spawn(sleep, 1000)
            t.name = "sleeper"
            sleep(0)
            assert.is_true(t:cancel("enough"))
            assert.is_false(t:cancel())
            local err = support.error_of(t.join, t)
            assert.is_true(py.isinstance(err, moonlet.TaskCancelled))
            assert.matches("sleeper was cancelled: enough$", tostring(err))
            assert.same({ "cancelled", true }, { t.status, t.cancelled })
            assert.is_true(py.isinstance(t.error, moonlet.TaskCancelled))
        end)
    end)

    it("lets a task never start that has not", function()
        run(function()
            local started = false
            local t = spawn(function() started = true end)
            local later = moonlet.spawn_later(1000, function() started = true end)
            t:cancel()
            later:cancel()
            assert.is_true(t:wait() and later:wait())
            assert.is_false(started)
        end)
    end)

    it("closes to-be-closed variables, and finally and with of Python", function()
        local order = {}
        local namespace = support.python [[
            import moonlet
            def body(note):
                try:
                    with open("/dev/null") as f:
                        try:
                            moonlet.sleep(1000)
                        except Exception:
                            note("swallowed")
                finally:
                    note("finally")
                    note("closed" if f.closed else "open")
        ]]
        run(function()
            local function note(text) order[#order + 1] = text end
            local a = spawn(function()
                local _ <close> = setmetatable({}, { __close = function(_, err)
                    note(is_cancel(err) and "close" or "?")
                end })
                sleep(1000)
            end)
            local b = spawn(namespace.body, note)
            sleep(0)
            a:cancel()
            b:cancel()
            moonlet.wait_all { a, b }
        end)
        assert.same({ "close", "finally", "closed" }, order)
    end)

    it("cannot be swallowed by pcall or xpcall", function()
        local seen = {}
        run(function()
            local t = spawn(function()
                pcall(function()
                    xpcall(sleep, function() seen[#seen + 1] = "handler" end, 1000)
                    seen[#seen + 1] = "after xpcall"
                end)
                seen[#seen + 1] = "after pcall"
            end)
            sleep(0)
            t:cancel()
            t:wait()
            assert.equal("cancelled", t.status)
        end)
        assert.same({}, seen)
    end)

    it("comes back at each wait if it is swallowed all the same", function()
        local attempts = 0
        run(function()
            local namespace = support.python [[
                import moonlet
                def body(count):
                    while True:
                        try:
                            moonlet.sleep(1000)
                        except BaseException as e:
                            assert type(e) is moonlet.Cancelled
                            if count() == 5:
                                raise
            ]]
            local t = spawn(namespace.body, function()
                attempts = attempts + 1
                return attempts
            end)
            sleep(0)
            t:cancel()
            t:wait()
            assert.equal("cancelled", t.status)
        end)
        assert.equal(5, attempts)
    end)

    it("of a task that does not wait any more changes nothing", function()
        run(function()
            local t
            t = spawn(function()
                t:cancel()
                return "done all the same"
            end)
            assert.equal("done all the same", t:join())
            assert.is_false(t:cancel())
        end)
    end)

    it("is not for greenlets that nobody has spawned", function()
        local text = support.message(function() moonlet.current_task():cancel() end)
        assert.matches("cannot be cancelled: nobody has spawned it", text)
    end)

    it("reaches a task in the middle of a call through both languages", function()
        run(function()
            local t = spawn(function()
                table.sort({ 1, 2, 3 }, function(a, b)
                    py.builtins.sorted(py.list { 1, 2 }, py.kw { key = function(x)
                        sleep(1000)
                        return x
                    end })
                    return a < b
                end)
            end)
            sleep(0)
            t:cancel()
            assert.is_true(t:wait(10))
            assert.equal("cancelled", t.status)
        end)
    end)
end)

describe("moonlet.move_on_after", function()
    it("returns true and the results, or false when the time is over", function()
        local seconds, results = timed(function()
            return {
                table.pack(moonlet.move_on_after(2, function(...)
                    sleep(1)
                    return ...
                end, "a", nil)),
                table.pack(moonlet.move_on_after(2, sleep, 5)),
            }
        end)
        assert.same({ { true, "a", nil, n = 3 }, { false, n = 1 } }, results)
        assert.equal(3, seconds)
    end)

    it("nests: the first deadline counts", function()
        local seconds, inner, outer = timed(function()
            local first
            local second = moonlet.move_on_after(2, function()
                first = { moonlet.move_on_after(5, sleep, 10) }
            end)
            return first, second
        end)
        assert.equal(2, seconds)
        assert.is_nil(inner)
        assert.is_false(outer)
        seconds, inner, outer = timed(function()
            local first
            local second = moonlet.move_on_after(5, function()
                first = moonlet.move_on_after(2, sleep, 10)
                sleep(1)
            end)
            return first, second
        end)
        assert.same({ 3, false, true }, { seconds, inner, outer })
    end)

    it("passes other errors on", function()
        local value = {}
        run(function()
            assert.equal(value, support.error_of(moonlet.move_on_after, 5, error, value))
        end)
    end)

    it("with 0 gives up at the first wait", function()
        run(function()
            local waited
            assert.is_false(moonlet.move_on_after(0, function()
                sleep(0)
                waited = true
            end))
            assert.is_nil(waited)
            assert.is_true(moonlet.move_on_after(0, function() end))
        end)
    end)

    it("says what is wrong with its arguments", function()
        run(function()
            assert.equal("bad argument #1 to 'move_on_after' (seconds expected, got function)",
                support.message(function() moonlet.move_on_after(print) end))
            assert.equal("bad argument #2 to 'move_on_after' (function or Python callable expected, got nil)",
                support.message(function() moonlet.move_on_after(1) end))
            assert.equal("bad argument #1 to 'move_on_at' (time expected, got nil)",
                support.message(function() moonlet.move_on_at() end))
        end)
    end)
end)

describe("moonlet.fail_after", function()
    it("raises TimeoutError when the time is over", function()
        local seconds, err, value = timed(function()
            local err = support.error_of(moonlet.fail_after, 0.5, sleep, 10)
            return err, moonlet.fail_after(5, function() return "in time" end)
        end)
        assert.equal(0.5, seconds)
        assert.is_true(py.isinstance(err, py.builtins.TimeoutError))
        assert.matches("timed out after 0.5 seconds", tostring(err))
        assert.equal("in time", value)
    end)

    it("can be given a time instead", function()
        local seconds = timed(function()
            assert.matches("timed out", support.message(moonlet.fail_at, moonlet.now() + 2, sleep, 10))
            assert.is_false(moonlet.move_on_at(moonlet.now() + 1, sleep, 10))
        end)
        assert.equal(3, seconds)
    end)
end)

describe("moonlet.cancel_scope", function()
    it("is cancelled by whoever has it", function()
        local seconds, done, scope = timed(function()
            local scope
            local done = moonlet.cancel_scope(function(s)
                scope = s
                spawn(function()
                    sleep(1)
                    s:cancel("by another task")
                end)
                sleep(10)
            end)
            return done, scope
        end)
        assert.same({ 1, false, true, true }, { seconds, done, scope.cancelled, scope.caught })
    end)

    it("has a deadline that can be moved", function()
        local seconds, done = timed(function()
            return (moonlet.cancel_scope(function(s)
                assert.equal(math.huge, s.deadline)
                s.deadline = moonlet.now() + 1
                sleep(0.5)
                s.deadline = moonlet.now() + 2
                assert.equal(moonlet.now() + 2, s.deadline)
                sleep(1.5)
                s.deadline = moonlet.now() + 0.25
                sleep(10)
            end))
        end)
        assert.same({ 2.25, false }, { seconds, done })
    end)

    it("catches its own cancel only", function()
        run(function()
            local reached
            local t = spawn(function()
                local done = moonlet.cancel_scope(function() sleep(1000) end)
                reached = done
            end)
            sleep(0)
            t:cancel()
            t:wait()
            assert.is_nil(reached)
            assert.equal("cancelled", t.status)
        end)
    end)

    it("refuses what is no time", function()
        run(function()
            moonlet.cancel_scope(function(s)
                assert.equal("bad value for 'deadline' (time expected, got string)",
                    support.message(function() s.deadline = "soon" end))
            end)
        end)
    end)
end)

describe("moonlet.shield", function()
    it("keeps a cancel out, which comes afterwards", function()
        local order = {}
        local seconds = timed(function()
            local t = spawn(function()
                moonlet.shield(function()
                    sleep(2)
                    order[#order + 1] = "shielded"
                end)
                order[#order + 1] = "after"
                sleep(0)
                order[#order + 1] = "not reached"
            end)
            sleep(1)
            t:cancel()
            t:wait()
        end)
        assert.same({ "shielded", "after" }, order)
        assert.equal(2, seconds)
    end)

    it("returns the results", function()
        assert.same({ 1, nil, 3 }, { run(function()
            return moonlet.shield(function(...) return ... end, 1, nil, 3)
        end) })
    end)

    it("lets deadlines inside count", function()
        local seconds = timed(function()
            local t = spawn(function()
                moonlet.shield(function()
                    assert.is_false(moonlet.move_on_after(2, sleep, 100))
                end)
            end)
            sleep(1)
            t:cancel()
            t:wait()
        end)
        assert.equal(2, seconds)
    end)

    it("can be set and taken away", function()
        run(function()
            local result
            local t = spawn(function()
                moonlet.cancel_scope(function(s)
                    s.shield = true
                    sleep(0.002)
                    result = "kept out"
                    s.shield = false
                    sleep(0)
                    result = "not reached"
                end)
            end)
            sleep(0)
            t:cancel()
            t:wait()
            assert.equal("kept out", result)
        end)
    end)
end)

describe("cancels at random", function()
    it("leave nothing behind", function()
        math.randomseed(7)
        local open = 0
        local meta = { __close = function() open = open - 1 end }
        local function body(depth)
            local _ <close> = setmetatable({}, meta)
            open = open + 1
            if depth > 0 and math.random() < 0.7 then
                moonlet.move_on_after(math.random() * 3, body, depth - 1)
            end
            if math.random() < 0.2 then
                moonlet.shield(sleep, math.random())
            end
            sleep(math.random() * 2)
        end
        timed(function()
            for _ = 1, 200 do
                local t = spawn(body, 4)
                if math.random() < 0.5 then
                    moonlet.spawn_later(math.random() * 3, function() t:cancel() end)
                end
            end
        end)
        assert.equal(0, open)
    end)
end)
