-- What other threads leave to the one that runs Lua.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local eval, message = py.eval, support.message
local in_thread, work, work_until = support.in_thread, support.work, support.work_until
local later = moonlet.call_soon_threadsafe

describe("moonlet.call_soon_threadsafe", function()
    local soon = py.import("moonlet").call_soon_threadsafe

    --- A safe point.
    local function leave()
        return eval "None"
    end

    --- Runs f and returns what sys.unraisablehook is told meanwhile, an error per line.
    local function unraisable(f)
        local reports = support.python [[
            import sys
            text = ""
            def hook(args):
                global text
                text += f"{args.exc_type.__name__}: {args.exc_value} in {args.object!r}\n"
            def set():
                sys.unraisablehook = hook
            def reset():
                sys.unraisablehook = sys.__unraisablehook__
        ]]
        reports.set()
        local ok, err = pcall(f)
        reports.reset()
        assert(ok, err)
        return (reports.text:gsub("0x%x+", "ADDRESS"):gsub("spec/callsoon_spec.lua:%d+: ", ""))
    end

    it("calls a Lua function when Lua leaves for Python", function()
        local got
        later(function(...)
            got = table.pack(...)
        end, 1, 2.0, nil, "é", "\xff\0", print, nil)
        local at_once = got
        assert.is_nil(at_once)
        leave()
        assert.same({ 1, 2.0, nil, "é", "\xff\0", print, nil, n = 7 }, got)
        assert.equal("float", math.type(got[2]))
    end)

    it("calls a Python function", function()
        local list = eval "[]"
        assert.is_nil((later(list.append, 5)))
        leave()
        assert.equal(5, list[0])
    end)

    it("returns None in Python", function()
        assert.equal("None", py.builtins.repr(eval("lambda f, g: f(g)")(soon, print) or eval "None"))
        leave()
    end)

    it("works in every thread", function()
        local got = {}
        for i = 1, 3 do
            in_thread(soon, function(x)
                got[#got + 1] = x
            end, i)
        end
        leave()
        assert.same({ 1, 2, 3 }, got)
    end)

    it("calls before a switch, in the greenlet that switches", function()
        local who
        local g = moonlet.greenlet(function()
            later(function()
                who = moonlet.current()
            end)
            support.pause()
        end)
        g:switch()
        assert.equal(g, who)
    end)

    it("calls between two steps of Lua, if nothing else comes", function()
        local done = false
        later(function()
            done = true
        end)
        work_until(function()
            return done
        end)
    end)

    it("calls in a coroutine that goes on and on", function()
        local done = false
        local function loop()
            in_thread(soon, function()
                done = true
            end)
            work_until(function()
                return done
            end)
        end
        coroutine.wrap(coroutine.wrap(coroutine.wrap(loop)))()
        assert.is_true(done)
    end)

    it("can be used by Python's signal handlers", function()
        local got
        local signals = support.python [[
            import os, signal
            def raise_(f, soon):
                before = signal.signal(signal.SIGUSR1, lambda *args: soon(f, "signal"))
                os.kill(os.getpid(), signal.SIGUSR1)
                signal.signal(signal.SIGUSR1, before)
        ]]
        signals.raise_(function(x)
            got = x
        end, soon)
        work_until(function()
            return got
        end)
        assert.equal("signal", got)
    end)

    it("makes the calls in their order, one after the other", function()
        local log = {}
        for i = 1, 3 do
            later(function()
                log[#log + 1] = i
                leave()
                work()
                log[#log + 1] = -i
            end)
        end
        leave()
        assert.same({ 1, -1, 2, -2, 3, -3 }, log)
    end)

    it("makes a call that a call asks for at the next occasion", function()
        local count, most, enough = 0, 1000, false
        local function again()
            count = count + 1
            if not enough and count < most then
                later(again)
            end
        end
        later(again)
        leave()
        assert.is_true(count >= 1 and count < most)
        local before = count
        leave()
        assert.is_true(count > before and count < most)
        enough = true
        leave()
        local all = count
        leave()
        assert.equal(all, count)
    end)

    it("tells sys.unraisablehook of errors, and goes on", function()
        local got
        assert.equal(
            "LuaError: no tin in <moonlet.LuaFunction at ADDRESS>\n"
                .. "ZeroDivisionError: division by zero in <function <lambda> at ADDRESS>\n"
                .. "TypeError: int() takes at most 2 arguments (3 given) in <class 'int'>\n"
                .. "SystemExit: 5 in <built-in function exit>\n",
            unraisable(function()
                later(function()
                    error "no tin"
                end)
                later(eval "lambda: 1 / 0")
                later(py.builtins.int, 1, 2, 3)
                later(py.import("sys").exit, 5)
                later(function()
                    got = "more"
                end)
                assert.is_true((pcall(leave)))
            end)
        )
        assert.equal("more", got)
    end)

    it("does not disturb an error that is on its way", function()
        local e = setmetatable({}, {
            __close = function()
                later(error, "elsewhere")
                leave()
            end,
        })
        local f = eval "lambda f: f()"
        local raised = eval "ValueError('mine')"
        assert.matches("elsewhere", unraisable(function()
            local caught = support.error_of(f, function()
                local _ <close> = e
                error(raised)
            end)
            assert.equal(raised, caught)
        end))
    end)

    it("does not let a call switch", function()
        local g = moonlet.greenlet(support.pause)
        local h = moonlet.greenlet(support.pause)
        h:switch()
        local refusal = "cannot switch to another greenlet inside a call of call_soon_threadsafe"
        assert.equal(
            "LuaError: " .. refusal .. " in <moonlet.LuaFunction at ADDRESS>\n"
                .. "LuaError: " .. refusal .. " in <moonlet.LuaFunction at ADDRESS>\n"
                .. "error: " .. refusal .. " in <function <lambda> at ADDRESS>\n",
            unraisable(function()
                later(g.switch, g)
                later(function()
                    h:switch()
                end)
                later(eval "lambda h: h.switch()", h)
                leave()
            end)
        )
        h:switch()
        assert.is_true(h.dead)
    end)

    it("ends greenlets that a call drops soon after", function()
        local ended = false
        local box = { moonlet.greenlet(function()
            local _ <close> = setmetatable({}, {
                __close = function()
                    ended = true
                end,
            })
            support.pause()
        end) }
        box[1]:switch()
        local inside
        assert.equal("", unraisable(function()
            later(function()
                box[1] = nil
                support.collect()
                inside = ended
            end)
            leave()
        end))
        assert.is_false(inside)
        moonlet.greenlet(print):throw()
        assert.is_true(ended)
    end)

    it("asks for something that can be called", function()
        assert.equal(
            "bad argument #1 to 'later' (function or Python callable expected, got nil)",
            message(function()
                later(nil)
            end)
        )
        assert.equal(
            "bad argument #1 to 'later' (function or Python callable expected, got table)",
            message(function()
                later {}
            end)
        )
        assert.equal(
            "bad argument #1 to 'later' (function or Python callable expected, got Python object)",
            message(function()
                later(eval "[]")
            end)
        )
        assert.equal(
            "TypeError: call_soon_threadsafe() argument 1 must be callable, not 'int'",
            message(soon, 5)
        )
        assert.equal(
            "TypeError: call_soon_threadsafe() missing 1 required argument: a callable",
            message(soon)
        )
        assert.equal(
            "TypeError: moonlet.call_soon_threadsafe() takes no keyword arguments",
            message(soon, print, py.kw { x = 1 })
        )
    end)

    it("loses nothing that eight threads ask for while Lua works and switches", function()
        local threads, calls = 8, support.scaled(10000)
        local crowd = support.python [[
            import threading
            from moonlet import call_soon_threadsafe
            def start(threads, calls, f):
                def body(i):
                    for n in range(1, calls + 1):
                        call_soon_threadsafe(f, i, n)
                all = [threading.Thread(target=body, args=(i,)) for i in range(1, threads + 1)]
                for t in all:
                    t.start()
        ]]
        local last, count, errors = {}, 0, 0
        for i = 1, threads do
            last[i] = 0
        end
        local text = unraisable(function()
            crowd.start(threads, calls, function(i, n)
                assert(n == last[i] + 1)
                last[i] = n
                count = count + 1
                if n == calls then
                    errors = errors + 1
                    error("end", 0)
                end
            end)
            local g = moonlet.greenlet(coroutine.wrap(function()
                while true do
                    for _ = 1, 1000 do -- luacheck: ignore
                    end
                    support.pause()
                end
            end))
            local turn = 0
            work_until(function()
                return count == threads * calls
            end, function()
                turn = turn + 1
                if turn % 3 == 0 then
                    work()
                elseif turn % 3 == 1 then
                    g:switch()
                else
                    leave()
                end
            end)
            g:throw()
        end)
        assert.equal(threads, errors)
        assert.equal(("LuaError: end in <moonlet.LuaFunction at ADDRESS>\n"):rep(threads), text)
    end)

    it("asks the filter of moonlet.open about Python functions, not again when they are called", function()
        local output, status = support.child [[
            local moonlet = require "moonlet"
            local py = moonlet.python
            local print_, len = py.builtins.print, py.builtins.len
            moonlet.open {
                filter = function(o, access)
                    return access ~= "call" or o ~= len
                end,
            }
            print(pcall(moonlet.call_soon_threadsafe, len, "abc"))
            moonlet.call_soon_threadsafe(print_, "called")
            moonlet.greenlet(print):throw()
        ]]
        assert.equal(
            "false\tPermissionError: call of a 'builtin_function_or_method' object is not permitted\n"
                .. "called\n",
            output
        )
        assert.equal(0, status)
    end)

    it("gives a script no rights of the filter that is just being asked", function()
        local output, status = support.child [[
            local moonlet = require "moonlet"
            local py = moonlet.python
            local builtins = py.builtins
            moonlet.open {
                filter = function(o, access, name)
                    if name == "abs" then
                        moonlet.call_soon_threadsafe(function()
                            print(pcall(function() return builtins.len end))
                        end)
                        print(builtins.len "abc") -- the filter may
                    end
                    return name ~= "len"
                end,
            }
            print(builtins.abs ~= nil)
        ]]
        assert.equal(
            "false\tPermissionError: getattr of 'len' of a 'module' object is not permitted\n3\ntrue\n",
            output
        )
        assert.equal(0, status)
    end)

    --- Code for a child process in which Python threads post all the time.
    local crowd = [[
        local moonlet = require "moonlet"
        local py = moonlet.python
        py.exec("import threading, time\n"
            .. "from moonlet import call_soon_threadsafe\n"
            .. "from collections import Counter\n"
            .. "ends = []\n"
            .. "def start(f):\n"
            .. "    def body():\n"
            .. "        try:\n"
            .. "            while True:\n"
            .. "                for _ in range(100): call_soon_threadsafe(f, object())\n"
            .. "                time.sleep(0.001)\n"
            .. "        except RuntimeError as e: ends.append(str(e))\n"
            .. "    global all\n"
            .. "    all = [threading.Thread(target=body) for _ in range(4)]\n"
            .. "    for t in all: t.start()\n"
            .. "def show():\n"
            .. "    for t in all: t.join()\n"
            .. "    print(dict(Counter(ends)), flush=True)\n"
            .. "import atexit; atexit.register(show)")
        local count = 0
        py.import("__main__").start(function() count = count + 1 end)
        while count < 1000 do for i = 1, 1e5 do end end
    ]]

    it("tells who calls it that the state is closed", function()
        local output, status = support.child(crowd)
        assert.equal("{'the Lua state is closed': 4}\n", output)
        assert.equal(0, status)
    end)

    it("does so in the end of a program by os.exit, too", function()
        local output, status = support.child(crowd .. " os.exit(true, true)")
        assert.equal("{'the Lua state is closed': 4}\n", output)
        assert.equal(0, status)
    end)

    it("drops what is left when the state closes", function()
        local output, status = support.child [[
            local moonlet = require "moonlet"
            local py = moonlet.python
            py.exec("class Noisy:\n    def __del__(self): print('dropped', flush=True)")
            local noisy = py.import("__main__").Noisy()
            moonlet.call_soon_threadsafe(print, noisy)
        ]]
        assert.equal("dropped\n", output)
        assert.equal(0, status)
    end)

    it("reaches a Lua loop that begins when the thread that called it has ended", function()
        local namespace = support.python [[
            import moonlet, threading
            def leave(f):
                thread = threading.Thread(target=moonlet.call_soon_threadsafe, args=(f,))
                thread.start()
                thread.join()
        ]]
        local done = false
        namespace.leave(function()
            done = true
        end)
        local rounds = 0
        while not done and rounds < 1e10 do
            rounds = rounds + 1
        end
        assert.is_true(done)
    end)
end)
