-- Frame clocks: time that passes in frames, driven by a host or by themselves.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python

local function near(expected, got)
    assert.is_true(math.abs(expected - got) < 1e-6, ("%.9f expected, got %.9f"):format(expected, got))
end

--- Runs f(time) under a virtual clock; time() is how much has passed.
local function run(f)
    moonlet.run(function()
        local clock <close> = moonlet.virtual_clock()
        local start = moonlet.now()
        f(function()
            return moonlet.now() - start
        end, clock)
    end)
end

describe("a frame clock of its own", function()
    it("has so many frames a second", function()
        run(function(time)
            local clock = moonlet.frame_clock { fps = 10 }
            for i = 1, 25 do
                near(0.1, clock:next_frame())
                near(i / 10, time())
                assert.equal(i, clock.frame)
                near(i / 10, clock.time)
                near(0.1, clock.dt)
            end
            assert.equal(10, clock.fps)
        end)
    end)

    it("does not drift, and leaves out what a task that runs long has missed", function()
        run(function(time)
            local clock = moonlet.frame_clock { fps = 10 }
            clock:next_frame()
            moonlet.spawn(function()
                clock:next_frame()
            end)
            moonlet.sleep(0.35)
            near(0.05, clock:next_frame() - 0.05)
            near(0.5, time())
            assert.equal(5, clock.frame)
        end)
    end)

    it("waits for several frames", function()
        run(function(time)
            local clock = moonlet.frame_clock { fps = 10 }
            near(0.7, clock:wait_frames(7))
            near(0.7, time())
            near(0.1, clock:wait_frames(1))
            assert.equal(0, clock:wait_frames(0))
            assert.equal(8, clock.frame)
        end)
    end)

    it("goes slower or faster", function()
        run(function(time)
            local clock = moonlet.frame_clock { fps = 10, time_scale = 0.5 }
            near(0.05, clock:next_frame())
            near(0.1, time())
            clock.time_scale = 3
            near(0.3, clock:next_frame())
            near(0.35, clock.time)
            clock.time_scale = 0
            assert.equal(0, clock:next_frame())
            assert.equal(3, clock.frame)
        end)
    end)

    it("can be paused: no frame begins", function()
        run(function(time)
            local clock = moonlet.frame_clock { fps = 10 }
            clock:next_frame()
            clock:pause()
            assert.is_true(clock.paused)
            local woken
            local t = moonlet.spawn(function()
                woken = clock:next_frame()
            end)
            moonlet.sleep(5)
            assert.is_nil(woken)
            clock:resume()
            t:join()
            near(0.1, woken)
            near(5.2, time())
            near(0.2, clock.time)
            clock.paused = true
            clock.paused = false
            assert.is_false(clock.paused)
        end)
    end)

    it("sleeps in its own time", function()
        run(function(time)
            local clock = moonlet.frame_clock { fps = 10, time_scale = 0.5 }
            clock:sleep(1)
            near(2, time())
            near(1, clock.time)
            local done
            local t = moonlet.spawn(function()
                clock:sleep(1)
                done = time()
            end)
            moonlet.sleep(1)
            clock.time_scale = 2 -- half of it is left
            t:join()
            near(3.3, done)
        end)
    end)

    it("lets sleepers sleep while it is paused or its scale is 0", function()
        run(function(time)
            local clock = moonlet.frame_clock { fps = 10 }
            local t = moonlet.spawn(function()
                clock:sleep(1)
            end)
            moonlet.sleep(0.5)
            clock:pause()
            moonlet.sleep(10)
            clock:resume()
            clock.time_scale = 0
            moonlet.sleep(10)
            assert.is_nil(t.error)
            assert.is_false(t.ended)
            clock.time_scale = 1
            t:join()
            near(21, math.floor(time() * 10 + 0.5) / 10)
        end)
    end)

    it("does not wake the program up when nobody waits", function()
        moonlet.run(function()
            local clock = moonlet.frame_clock { fps = 1000 }
            clock:next_frame()
            local before = moonlet.stats().waits
            moonlet.sleep(0.05)
            assert.is_true(moonlet.stats().waits - before <= 2)
            assert.is_true(clock.frame >= 50)
        end)
    end)

    it("counts the frames that nobody has waited for", function()
        run(function()
            local clock = moonlet.frame_clock { fps = 10 }
            clock:next_frame()
            moonlet.sleep(1)
            assert.equal(11, clock.frame)
            near(0.1, clock:next_frame())
            assert.equal(12, clock.frame)
            near(1.2, clock.time)
        end)
    end)

    it("makes those that wait ready in the order in which they began to", function()
        run(function()
            local clock = moonlet.frame_clock { fps = 10 }
            local order = {}
            local tasks = {}
            for i = 1, 5 do
                tasks[i] = moonlet.spawn(function()
                    for _ = 1, 3 do
                        clock:next_frame()
                        order[#order + 1] = i
                    end
                end)
            end
            tasks[6] = moonlet.spawn(function()
                clock:wait_frames(3)
                order[#order + 1] = 6
            end)
            moonlet.wait_all(tasks)
            assert.equal("1 2 3 4 5 1 2 3 4 5 6 1 2 3 4 5", table.concat(order, " "))
        end)
    end)

    it("forgets who is cancelled or timed out", function()
        run(function()
            local clock = moonlet.frame_clock { fps = 1 }
            for _, wait in ipairs {
                function() clock:next_frame() end,
                function() clock:wait_frames(3) end,
                function() clock:sleep(3) end,
            } do
                assert.is_false((moonlet.move_on_after(0.25, wait)))
                local t = moonlet.spawn(wait)
                moonlet.sleep()
                t:cancel()
                assert.is_true(t:wait(0.1))
            end
            clock:next_frame()
        end)
    end)

    it("is a deadlock when it is paused and nothing else can happen", function()
        local err = support.error_of(moonlet.run, function()
            local clock = moonlet.frame_clock { fps = 10 }
            clock:pause()
            clock:next_frame()
        end)
        assert.matches("main waits: frame on frame clock: frame 0, 0.000 s, paused, for ", tostring(err), 1, true)
    end)
end)

describe("a manual frame clock", function()
    it("goes by tick", function()
        moonlet.run(function()
            local clock = moonlet.frame_clock { manual = true, fps = 50, time_scale = 2 }
            local got = {}
            moonlet.spawn(function()
                for i = 1, 3 do
                    got[i] = clock:next_frame()
                end
            end)
            moonlet.sleep()
            for _, seconds in ipairs { 0.25, 0.5 } do
                clock:tick(seconds)
                moonlet.sleep()
            end
            clock:tick()
            moonlet.sleep()
            assert.same({ 0.5, 1.0, 0.04 }, got)
            assert.equal(3, clock.frame)
            clock:pause()
            clock:tick(1)
            assert.equal(3, clock.frame)
        end)
    end)
end)

describe("moonlet.frames", function()
    it("goes by itself in run, 60 frames a second", function()
        run(function(time)
            moonlet.next_frame()
            local start = time()
            near(1 / 60, moonlet.next_frame())
            near(1 / 60, time() - start)
            near(10 / 60, moonlet.wait_frames(10))
            near(11 / 60, time() - start)
        end)
    end)

    local function child(code)
        local output, status = support.child([[
            local moonlet = require "moonlet"
            local clock = moonlet.frames
            local log = {}
            local function say(...) log[#log + 1] = table.concat({ ... }, " ") end
            local function flush() print(table.concat(log, ", ")) log = {} end
        ]] .. code)
        assert.equal(0, status, output)
        return output
    end

    it("has one frame for each step of a host", function()
        assert.equal("1 1, 2 1, 3 1\n1 2, 2 2, 3 2\n\n2\n", child [[
            for i = 1, 3 do
                moonlet.spawn(function()
                    for k = 1, 2 do
                        moonlet.next_frame()
                        say(i, k)
                    end
                end)
            end
            moonlet.step() -- they begin to wait
            log = {}
            local before = clock.frame
            moonlet.step() flush()
            moonlet.step() flush()
            print(#log > 0 and "?" or "")
            print(clock.frame - before)
        ]])
    end)

    it("lets what the budget was too small for run first in the next step", function()
        assert.equal("1, 2, 3, 4, 1, 2, 3, 4\ntrue\n", child [[
            local function work()
                local stop = moonlet.now() + 0.006
                while moonlet.now() < stop do end
            end
            for i = 1, 4 do
                moonlet.spawn(function()
                    for _ = 1, 2 do
                        moonlet.next_frame()
                        say(i)
                        work()
                    end
                end)
            end
            moonlet.step()
            log = {}
            local steps = 0
            while #log < 8 do
                moonlet.step(10)
                steps = steps + 1
            end
            flush()
            print(steps >= 4) -- each had time for two
        ]])
    end)

    it("gives each task all of the time, however late it gets its turn", function()
        assert.equal("true\n", child [[
            local sums = {}
            for i = 1, 4 do
                sums[i] = 0
                moonlet.spawn(function()
                    while true do
                        sums[i] = sums[i] + moonlet.next_frame()
                        local stop = moonlet.now() + 0.002
                        while moonlet.now() < stop do end
                    end
                end)
            end
            moonlet.step()
            local start = clock.time
            for _ = 1, 20 do moonlet.step(3) end
            local passed = clock.time - start
            local good = true
            for i = 1, 4 do good = good and sums[i] > passed * 0.7 and sums[i] <= passed + 1e-9 end
            print(good)
            os.exit(0)
        ]])
    end)

    it("leaves nothing undone between step and run", function()
        assert.equal("100\n", child [[
            local count = 0
            for _ = 1, 100 do
                moonlet.step()
                moonlet.run(function()
                    moonlet.sleep()
                    count = count + 1
                end)
            end
            print(count)
        ]])
    end)

    it("counts at most max_dt for a step", function()
        assert.equal("true\n", child [[
            moonlet.step()
            clock.max_dt = 0.001
            moonlet.python.import("time").sleep(0.02)
            moonlet.step()
            print(clock.dt == 0.001)
        ]])
    end)

    it("stands still while it is paused, though the host goes on", function()
        assert.equal("0\n1\n", child [[
            local count = 0
            moonlet.spawn(function() while true do moonlet.next_frame() count = count + 1 end end)
            moonlet.step()
            count = 0
            clock:pause()
            for _ = 1, 5 do moonlet.step() end
            print(count)
            clock:resume()
            moonlet.step()
            print(count)
            os.exit(0)
        ]])
    end)
end)

describe("wrong use of a frame clock", function()
    local clock = moonlet.frame_clock { fps = 10 }

    it("is refused", function()
        local message = support.message
        assert.equal("bad argument #1 to 'wait_frames' (number of frames expected, got string)",
            message(moonlet.wait_frames, "x"))
        assert.equal("bad argument #1 to 'wait_frames' (number of frames expected, got number)",
            message(moonlet.wait_frames, 1.5))
        assert.equal("bad argument #1 to 'wait_frames' (0 or more expected, got -1)",
            message(moonlet.wait_frames, -1))
        assert.equal("bad argument #1 to 'sleep' (seconds expected that are not negative, got -1)",
            message(clock.sleep, clock, -1))
        assert.equal("bad argument #1 to 'next_frame' (frame clock expected, got table)", message(clock.next_frame, {}))
        assert.equal("this frame clock goes by itself: tick() is for one with manual = true",
            message(clock.tick, clock))
        assert.equal("bad value for 'time_scale' (0 or more expected, got -1)", message(function()
            clock.time_scale = -1
        end))
        assert.equal("bad value for 'time_scale' (number expected, got string)", message(function()
            clock.time_scale = "1"
        end))
        assert.equal("cannot set 'frame' of a frame clock", message(function()
            clock.frame = 1
        end))
        assert.equal("bad argument #1 to 'frame_clock' (table expected, got number)", message(moonlet.frame_clock, 1))
        assert.equal("bad argument #1 to 'frame_clock' (unknown option 'x')", message(moonlet.frame_clock, { x = 1 }))
        assert.equal("bad option 'fps' of 'frame_clock' (above 0 expected, got 0)",
            message(moonlet.frame_clock, { fps = 0 }))
        assert.equal("bad option 'fps' of 'frame_clock' (number expected, got string)",
            message(moonlet.frame_clock, { fps = "x" }))
    end)

    it("shows itself", function()
        assert.equal("frame clock: frame 0, 0.000 s", tostring(moonlet.frame_clock { fps = 10 }))
    end)
end)

describe("in Python", function()
    it("frame clocks have the same methods and attributes", function()
        local namespace = support.python [[
            import moonlet

            def main():
                clock = moonlet.FrameClock(fps=100, time_scale=0.5)
                assert isinstance(clock, moonlet.FrameClock)
                result = [clock.next_frame(), round(clock.wait_frames(2), 6), clock.frame, clock.fps, clock.paused]
                clock.sleep(0.01)
                clock.time_scale = 2
                result.append(clock.next_frame())
                clock.pause()
                clock.paused = False
                result.append(clock.time_scale)
                moonlet.next_frame()
                result.append(type(moonlet.frames) is moonlet.FrameClock)
                moonlet.wait_frames(2)
                for wrong in (lambda: moonlet.frame_clock(fps=-1), lambda: moonlet.wait_frames("x")):
                    try:
                        wrong()
                    except Exception as e:
                        result.append(type(e).__name__)
                return repr(result)
        ]]
        run(function()
            assert.equal("[0.005, 0.01, 3, 100, False, 0.02, 2, True, 'ValueError', 'TypeError']", namespace.main())
        end)
    end)

    it("setting a wrong value is an error", function()
        local err = support.error_of(py.eval "lambda c: setattr(c, 'time_scale', -1)", moonlet.frame_clock { fps = 1 })
        assert.matches("bad value for 'time_scale' (0 or more expected, got -1)", tostring(err), 1, true)
    end)
end)
