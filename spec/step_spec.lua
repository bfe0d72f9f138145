-- Hosts that own their loop (step, pollfd), what happens at a time (at, every), and the virtual clock.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python

local spawn, sleep = moonlet.spawn, moonlet.sleep

--- Steps until nothing is left.
local function finish()
    for _ = 1, 1000 do
        local left = moonlet.step(10)
        if not left then
            return
        end
    end
    error "it does not end"
end

describe("moonlet.step", function()
    it("may be followed by waits of the host itself", function()
        local output = support.child [[
            local moonlet = require "moonlet"
            local e = moonlet.event()
            local tasks = {}
            for i = 1, 3 do
                tasks[i] = moonlet.spawn(function() e:wait() return i end)
            end
            print(moonlet.step())
            e:set()
            print(tasks[1]:join(), tasks[2]:join(), tasks[3]:join())
            print(moonlet.step())
        ]]
        assert.equal("true\tnil\n1\t2\t3\nfalse\tnil\n", output)
    end)

    it("runs what is ready and tells what is left", function()
        local clock <close> = moonlet.virtual_clock()
        local order = {}
        spawn(function()
            order[#order + 1] = "started"
            sleep(0.25)
            order[#order + 1] = "woken"
        end)
        local left, due = moonlet.step()
        assert.same({ true, 250 }, { left, due })
        assert.same({ "started" }, order)
        clock.time = clock.time + 0.3
        assert.same({ false }, { moonlet.step() })
        assert.same({ "started", "woken" }, order)
        assert.same({ false }, { moonlet.step(0) })
    end)

    it("stops when the budget is used up, and goes on there", function()
        local count = 0
        for _ = 1, 100 do
            spawn(function()
                count = count + 1
                local stop = os.clock() + 0.0005
                while os.clock() < stop do
                    count = count + 0
                end
            end)
        end
        local left, due = moonlet.step(2)
        assert.is_true(left)
        assert.equal(0, due)
        assert.is_true(count >= 1 and count < 100, count)
        local before = count
        moonlet.step(2)
        assert.is_true(count > before)
        finish()
        assert.equal(100, count)
    end)

    it("keeps the order of tasks from step to step", function()
        local order = {}
        for i = 1, 20 do
            spawn(function()
                for round = 1, 3 do
                    order[#order + 1] = round * 100 + i
                    sleep(0)
                end
            end)
        end
        while moonlet.step(0) do
            assert.is_true(#order <= 60)
        end
        for i = 2, #order do
            assert.is_true(order[i] > order[i - 1])
        end
        assert.equal(60, #order)
    end)

    it("runs at least one task, however small the budget is", function()
        local n = 0
        spawn(function() n = n + 1 end)
        moonlet.step(0)
        assert.equal(1, n)
    end)

    it("runs Python tasks", function()
        local namespace = support.python [[
            import moonlet
            log = []
            def body(x):
                for i in range(3):
                    log.append((x, i))
                    moonlet.sleep(0)
        ]]
        spawn(namespace.body, "a")
        spawn(namespace.body, "b")
        finish()
        assert.equal("[('a', 0), ('b', 0), ('a', 1), ('b', 1), ('a', 2), ('b', 2)]", tostring(namespace.log))
    end)

    it("is not for tasks, and wants a number", function()
        local t = spawn(function() return support.message(moonlet.step) end)
        finish()
        assert.matches("cannot be called by a task", t.result)
        assert.equal("bad argument #1 to 'step' (milliseconds expected, got string)",
            support.message(function() moonlet.step "4" end))
        assert.equal("bad argument #1 to 'step' (milliseconds expected, got number)",
            support.message(function() moonlet.step(-1) end))
    end)

    it("reports the errors of tasks, and goes on", function()
        local list = {}
        local before = moonlet.on_error(function(text) list[#list + 1] = text:gsub("task %d+.-,", "task,") end)
        spawn(function() error "x" end)
        finish()
        collectgarbage()
        collectgarbage()
        finish()
        moonlet.on_error(before)
        assert.same({ "error in task, which nobody has joined" }, list)
    end)

    it("can be called beside run", function()
        spawn(function() end)
        moonlet.step()
        assert.equal(5, moonlet.run(function()
            sleep(0.001)
            return 5
        end))
        assert.is_false((moonlet.step()))
    end)
end)

describe("a program that has called moonlet.step", function()
    it("ends", function()
        local output, status = support.child 'print(require "moonlet".step())'
        assert.equal("false\tnil\n", output)
        assert.equal(0, status)
    end)
end)

describe("moonlet.pollfd", function()
    it("is a file descriptor that can be read when I/O has something to do", function()
        local uv = require "luv"
        local fd = moonlet.pollfd()
        assert.equal("integer", math.type(fd))
        local namespace = support.python [[
            import select
            def readable(fd, seconds):
                return bool(select.select([fd], [], [], seconds)[0])
        ]]
        assert.is_false(namespace.readable(fd, 0))
        local called
        local async = uv.new_async(function() called = true end)
        moonlet.step()
        async:send()
        assert.is_true(namespace.readable(fd, 60))
        moonlet.step()
        assert.is_true(called)
        async:close()
        finish()
    end)
end)

describe("moonlet.at", function()
    it("calls at a time", function()
        local _ <close> = moonlet.virtual_clock()
        local when
        moonlet.run(function()
            local start = moonlet.now()
            local t = moonlet.at(start + 2, function(...)
                when = moonlet.now() - start
                return ...
            end, "x")
            assert.equal("x", t:join())
            assert.equal("late", moonlet.at(start, function() return "late" end):join())
        end)
        assert.is_true(math.abs(when - 2) < 1e-6)
        assert.equal("bad argument #1 to 'at' (time expected, got string)",
            support.message(function() moonlet.at("now", print) end))
        assert.equal("bad argument #1 to 'at' (time expected, got nan)",
            support.message(function() moonlet.at(0 / 0, print) end))
    end)
end)

describe("moonlet.every", function()
    it("calls again and again without drift, until it returns false", function()
        local clock <close> = moonlet.virtual_clock()
        local times = {}
        moonlet.run(function()
            local start = moonlet.now()
            moonlet.every(1, function()
                times[#times + 1] = math.floor((moonlet.now() - start) * 100 + 0.5) / 100
                sleep(#times == 2 and 2.5 or 0.3)
                return #times < 4
            end):join()
        end)
        assert.same({ 1, 2, 5, 6 }, times)
        assert.is_true(clock:now() > 6)
    end)

    it("can be cancelled, and passes errors to who joins", function()
        local _ <close> = moonlet.virtual_clock()
        moonlet.run(function()
            local n = 0
            local t = moonlet.every(1, function() n = n + 1 end)
            sleep(3.5)
            t:cancel()
            t:wait()
            assert.equal(3, n)
            local failing = moonlet.every(1, function() error "tick" end)
            assert.matches("tick", support.message(failing.join, failing))
        end)
        assert.equal("bad argument #1 to 'every' (more than 0 seconds expected)",
            support.message(function() moonlet.every(0, print) end))
    end)
end)

describe("a virtual clock", function()
    it("jumps to the next timer when all wait", function()
        local before = os.time()
        local clock <close> = moonlet.virtual_clock()
        local order = {}
        moonlet.run(function()
            for _, s in ipairs { 3600, 60, 86400, 60 } do
                spawn(function()
                    sleep(s)
                    order[#order + 1] = s
                end)
            end
        end)
        assert.same({ 60, 60, 3600, 86400 }, order)
        assert.is_true(os.time() - before < 60)
        assert.matches("^virtual clock: ", tostring(clock))
    end)

    it("can be advanced by a task", function()
        local clock <close> = moonlet.virtual_clock()
        moonlet.run(function()
            local fired
            moonlet.spawn_later(5, function() fired = true end)
            clock:advance(4)
            assert.is_nil(fired)
            clock:advance(1.5)
            assert.is_true(fired)
        end)
    end)

    it("is there once, and leaves timers the time they have", function()
        local clock = moonlet.virtual_clock()
        assert.equal("there is a virtual clock already", support.message(moonlet.virtual_clock))
        local woken
        local t = spawn(function()
            sleep(0.01)
            woken = true
        end)
        moonlet.step()
        clock:close()
        clock:close()
        moonlet.run(function() t:join() end)
        assert.is_true(woken)
        assert.is_true(py.isinstance(moonlet.now(), py.builtins.float))
    end)
end)

describe("timers", function()
    it("fire in the order of their times, and of their making", function()
        local _ <close> = moonlet.virtual_clock()
        math.randomseed(3)
        local fired, expected = {}, {}
        moonlet.run(function()
            local cancelled = {}
            for i = 1, 500 do
                local s = math.random(1, 50)
                local t = moonlet.spawn_later(s, function() fired[#fired + 1] = s * 1000 + i end)
                if i % 3 == 0 then
                    cancelled[#cancelled + 1] = t
                else
                    expected[#expected + 1] = s * 1000 + i
                end
            end
            for _, t in ipairs(cancelled) do
                t:cancel()
            end
        end)
        table.sort(expected)
        assert.same(expected, fired)
    end)
end)
