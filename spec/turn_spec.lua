-- The turns of Python's other threads while Lua runs.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local eval, message = py.eval, support.message
local work, work_until = support.work, support.work_until

describe("Python's other threads", function()
    --- A thread that counts its turns: it waits for the GIL again and again.
    local counter = support.python [[
        import sys, threading, time
        count, running = 0, False
        piece, pieces = 0, set()
        def body():
            global count
            while running:
                count += 1
                pieces.add(piece)
                time.sleep(0)
        def start():
            global thread, running, count, piece
            count, running, piece = 0, True, 0
            pieces.clear()
            thread = threading.Thread(target=body)
            thread.start()
        def stop():
            global running
            running = False
            thread.join()
            sys.setswitchinterval(0.005)
    ]]

    --- Checks that they run while f, which does not leave Lua, is called.
    local function get_turns(f)
        counter.start()
        local seen, turns = counter.count, 0
        local ok, err = pcall(work_until, function()
            local now = counter.count
            turns = now > seen and turns + 1 or turns
            seen = now
            return turns == 5
        end, f)
        counter.stop()
        assert(ok, err)
    end

    --- Works for longer than a switch interval.
    local function long_work()
        for _ = 1, 10 do
            work()
        end
    end

    it("run while Lua calls what releases the GIL", function()
        get_turns(function()
            py.import("time").sleep(0.001)
        end)
    end)

    it("run while Lua works", function()
        get_turns(long_work)
    end)

    it("run while Lua works in a coroutine", function()
        get_turns(function()
            coroutine.wrap(long_work)()
        end)
        get_turns(function()
            assert(coroutine.resume(coroutine.create(long_work)))
        end)
    end)

    it("run while Lua works in coroutines of coroutines", function()
        local function nested(depth, f)
            if depth == 0 then
                return f()
            end
            return pcall(coroutine.wrap(function()
                nested(depth - 1, f)
            end))
        end
        get_turns(function()
            nested(5, function()
                for _ = 1, 5 do
                    long_work()
                end
            end)
        end)
    end)

    it("run while coroutines take turns", function()
        get_turns(function()
            local all = {}
            for i = 1, 5 do
                all[i] = coroutine.wrap(function()
                    while true do
                        for _ = 1, 1000 do -- luacheck: ignore
                        end
                        coroutine.yield()
                    end
                end)
            end
            for i = 1, 10000 do
                all[i % 5 + 1]()
            end
        end)
    end)

    it("run while Lua works in a greenlet, and in its coroutines", function()
        get_turns(function()
            moonlet.greenlet(long_work):switch()
            moonlet.greenlet(coroutine.wrap(long_work)):switch()
        end)
    end)

    it("run while Lua works that Python has called", function()
        local call = eval "lambda f: f()"
        get_turns(function()
            call(long_work)
        end)
        get_turns(function()
            call(coroutine.wrap(long_work))
        end)
        get_turns(function()
            coroutine.wrap(function()
                call(coroutine.wrap(long_work))
            end)()
        end)
    end)

    it("run while Lua works in a coroutine that Python resumes", function()
        get_turns(function()
            py.builtins.next(coroutine.create(function()
                long_work()
                coroutine.yield()
            end))
        end)
    end)

    it("run while greenlets switch", function()
        get_turns(function()
            local g = moonlet.greenlet(function()
                while true do
                    support.pause()
                end
            end)
            for _ = 1, 100000 do
                g:switch()
            end
        end)
    end)

    it("run while table.sort and string.gsub call Lua", function()
        get_turns(function()
            local t = {}
            for i = 1, 50000 do
                t[i] = i * 7919 % 50021
            end
            table.sort(t, function(a, b)
                return a < b
            end)
        end)
        local text = ("x"):rep(300000)
        get_turns(function()
            text:gsub("x", function()
                return "y"
            end)
        end)
    end)

    it("wait for sys.setswitchinterval", function()
        --- During how many of 12 pieces of work they run.
        local function pieces(interval)
            counter.start()
            py.import("sys").setswitchinterval(interval)
            local begun = counter.pieces
            for i = 1, 12 do
                counter.piece = i
                long_work()
            end
            py.import("sys").setswitchinterval(0.005)
            counter.stop()
            return #begun
        end
        assert.is_true(pieces(0.001) >= 6)
        -- The counter may have begun to wait before.
        assert.is_true(pieces(1000) <= 3)
    end)

    it("can raise an exception in what Lua does", function()
        local async = support.python [[
            import ctypes, threading
            def start():
                ident = threading.get_ident()
                started = threading.Event() # Thread.start() itself may raise another KeyError then
                def body():
                    started.wait()
                    exception = ctypes.py_object(KeyError)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), exception)
                threading.Thread(target=body).start()
                started.set()
        ]]
        for _, f in ipairs { work_until, coroutine.wrap(work_until) } do
            assert.equal("KeyError", message(function()
                async.start()
                f(function()
                    return false
                end)
            end))
        end
    end)

    it("leave the hooks of debug.sethook alone", function()
        local function lines(f)
            local count = 0
            local function hook()
                count = count + 1
            end
            debug.sethook(hook, "l")
            f()
            local found, mask, steps = debug.gethook()
            debug.sethook()
            assert.equal(hook, found)
            assert.equal("l0", mask .. steps)
            return count
        end
        local function body()
            local x = 0
            for i = 1, 1000000 do
                x = x + i
            end
        end
        local expected = lines(body)
        counter.start()
        local before = counter.count
        local found = lines(body)
        local turns = counter.count - before
        counter.stop()
        assert.equal(expected, found)
        assert.is_true(turns > 0)
    end)

    it("leave count hooks alone", function()
        for _, steps in ipairs { 100, 1000000 } do
            local count = 0
            counter.start()
            debug.sethook(function()
                count = count + 1
            end, "", steps)
            long_work()
            local _, mask, found = debug.gethook()
            debug.sethook()
            counter.stop()
            assert.equal(steps, found)
            assert.equal("", mask)
            -- long_work is at least 20 million steps.
            assert.is_true(count >= 19000000 // steps)
        end
    end)

    it("leave coroutines without a hook", function()
        counter.start()
        local co = coroutine.create(function()
            long_work()
            return debug.gethook()
        end)
        local ok, hook = coroutine.resume(co)
        counter.stop()
        assert.is_true(ok)
        assert.is_nil(hook)
        long_work()
        assert.is_nil((debug.gethook()))
    end)

    it("have no effect on finalizers", function()
        counter.start()
        local finalized = 0
        for _ = 1, 50 do
            setmetatable({}, {
                __gc = function()
                    finalized = finalized + 1
                    work()
                    coroutine.wrap(work)()
                end,
            })
            collectgarbage()
        end
        counter.stop()
        assert.equal(50, finalized)
    end)

    it("get turns in a child process", function()
        local output, status = support.child [[
            local py = require("moonlet").python
            py.exec("import os, threading\n"
                .. "count = 0\n"
                .. "def body():\n"
                .. "    global count\n"
                .. "    while True: count += 1\n"
                .. "def start(): threading.Thread(target=body, daemon=True).start()")
            local main = py.import("__main__")
            local function turns()
                local seen, turns = main.count, 0
                while turns < 3 do
                    coroutine.wrap(function() for _ = 1, 1e7 do end end)()
                    if main.count > seen then turns = turns + 1 end
                    seen = main.count
                end
                return "turns"
            end
            main.start()
            io.write(turns(), " ")
            local child = main.os.fork()
            if child == 0 then
                main.start()
                io.write(turns(), " in the child ")
                io.flush()
                main.os._exit(0)
            end
            main.os.waitpid(child, 0)
            print(turns())
        ]]
        assert.equal("turns turns in the child turns turns\n", output)
        assert.equal(0, status)
    end)

    it("get turns by SIGURG, of which others get what is theirs", function()
        local output, status = support.child [[
            local py = require("moonlet").python
            py.exec("import os, signal, threading\n"
                .. "count = signals = 0\n"
                .. "def body():\n"
                .. "    global count\n"
                .. "    while True: count += 1\n"
                .. "def handle(*args):\n"
                .. "    global signals\n"
                .. "    signals += 1\n"
                .. "def start(): threading.Thread(target=body, daemon=True).start()\n"
                .. "def send(): os.kill(os.getpid(), signal.SIGURG)")
            local main = py.import("__main__")
            main.start()
            main.signal.signal(main.signal.SIGURG, main.handle)
            for _ = 1, 2000 do local _ = main.count end -- until it is noticed
            main.signals = 0
            local seen, turns = main.count, 0
            while turns < 3 do
                for _ = 1, 1e7 do end
                if main.count > seen then turns = turns + 1 end
                seen = main.count
            end
            io.write(main.signals, " ")
            main.send()
            main.send()
            print(main.signals)
        ]]
        assert.equal("0 2\n", output)
        assert.equal(0, status)
    end)
end)
