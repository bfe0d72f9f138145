-- The plugin: `require "moonlet"` in stock lua5.4; and libmoonlet in a host written in C.

local support = require "spec.support"
local child, shell, quote = support.child, support.shell, support.command

--- Runs a scenario of host.c: its output and exit status. A sanitized one has its own sanitizer,
--- and may not leak.
local function run_host(name)
    local environment = support.sanitized
            and "env -u LD_PRELOAD ASAN_OPTIONS=detect_stack_use_after_return=0 "
                .. "LSAN_OPTIONS=suppressions=spec/leaks.txt:print_suppressions=0 "
        or ""
    return shell(environment .. "timeout 10 " .. quote(os.getenv "MOONLET_HOST", name))
end

--- Checks the output of Lua code in a new lua5.4.
local function prints(expected, code)
    local output, status = child(code)
    assert.equal(expected, output)
    assert.equal(0, status)
end

describe("require 'moonlet' in stock Lua", function()
    it("starts Python", function()
        prints("2\n", 'print(require("moonlet").python.eval "1 + 1")')
    end)

    it("returns the same module each time, also after it was forgotten", function()
        prints("true\ttrue\n", [[
            local moonlet = require "moonlet"
            local g = moonlet.current()
            package.loaded.moonlet = nil
            local again = require "moonlet"
            print(again == moonlet, again.current() == g)
        ]])
    end)

    it("works in a coroutine", function()
        prints("3\n", [[
            local moonlet = coroutine.wrap(function() return require "moonlet" end)()
            collectgarbage()
            print(moonlet.python.eval "1 + 2")
        ]])
    end)

    for _, module in ipairs { "ctypes", "ssl", "sqlite3", "asyncio", "decimal" } do
        it("lets Python import " .. module, function()
            prints(module .. "\n", ([[
                print(require("moonlet").python.import(%q).__name__)
            ]]):format(module))
        end)
    end

    it("lets Python's C extensions work", function()
        prints("42\t3\n", [[
            local py = require("moonlet").python
            local ctypes, sqlite3 = py.import "ctypes", py.import "sqlite3"
            local db = sqlite3.connect ":memory:"
            print(ctypes.c_int(42).value, db:execute "select 1 + 2":fetchone())
        ]])
    end)

    it("lets numpy work, and call back into Lua", function()
        if not support.run_python("-c", "import numpy; print('ok')"):match "^ok" then
            return pending "python3-numpy is not installed"
        end
        prints("10\t[ 2.  4. 12.]\n", [[
            local moonlet = require "moonlet"
            local py = moonlet.python
            local np = py.import "numpy"
            local a = np.array(py.eval "[1, 2, 3, 4]")
            local g = moonlet.greenlet(function()
                local f = np.frompyfunc(function(x)
                    return moonlet.current().parent:switch(x)
                end, 1, 1)
                return f(py.eval "[1, 2, 6]"):astype "float"
            end)
            local x = g:switch()
            while not g.dead do x = g:switch(x * 2) end
            print(a:sum():item(), x)
        ]])
    end)

    it("keeps what Python and Lua print in order", function()
        prints("lua\npython\nlua\n", [[
            local py = require("moonlet").python
            print "lua" py.builtins.print "python" print "lua"
        ]])
    end)

    it("does not take Ctrl-C from the host", function()
        prints("false\n", [[
            local signal = require("moonlet").python.import "signal"
            local handler = signal.getsignal(signal.SIGINT)
            print(handler == signal.default_int_handler)
        ]])
    end)

    it("raises an error if libpython cannot be loaded", function()
        local name = support.file 'print(pcall(require, "moonlet"))'
        local output = shell("MOONLET_LIBPYTHON=/nonexistent " .. quote("lua5.4", name))
        os.remove(name)
        assert.matches("^false\t", output)
        assert.matches(
            "moonlet: cannot load Python: /nonexistent: cannot open shared object file: "
                .. "No such file or directory; install the package libpython3%.11, or set "
                .. "MOONLET_LIBPYTHON to the path of the library",
            output
        )
    end)

    it("survives the end of the script with suspended greenlets", function()
        prints("closed\nfinally\n", [[
            local moonlet = require "moonlet"
            local py = moonlet.python
            lua = moonlet.greenlet(function()
                local _ <close> = setmetatable({}, { __close = function() print "closed" end })
                moonlet.current().parent:switch()
            end)
            lua:switch()
            py.exec "from greenlet import getcurrent\n\
def body():\n\
  try: getcurrent().parent.switch()\n\
  finally: print('finally', flush=True)"
            python = moonlet.greenlet(py.import "__main__".body)
            python:switch()
            io.stdout:setvbuf "no"
        ]])
    end)
end)

describe("a host in C", function()
    --- Checks what a scenario of host.c prints, with its addresses left out.
    local function scenario(name, expected)
        local output, status = run_host(name)
        assert.equal(expected, (output:gsub("0x%x+", "ADDRESS")))
        assert.equal(0, status)
    end

    --- The lines in another order.
    local function sorted(text)
        local lines = {}
        for line in text:gmatch "[^\n]+" do
            lines[#lines + 1] = line
        end
        table.sort(lines)
        return table.concat(lines, "\n")
    end

    local ended = "close coroutine\nclose python\nclose simple\nclose sort\nfinally\nfinally"

    it("ends what is suspended with lua_close", function()
        local output, status = run_host "close_suspended"
        assert.equal("closed\n", output:match "[^\n]*\n$")
        assert.equal(sorted("closed\n" .. ended), sorted(output))
        assert.equal(0, status)
    end)

    it("may do so before, with moonlet_close", function()
        local output, status = run_host "close_early"
        assert.equal(0, status)
        assert.matches("\nclosed\nfalse\tthe Lua state is closed\n", output)
    end)

    it("leaves Lua values that Python holds without a state", function()
        scenario("close_held", [[
closed
True
RuntimeError the Lua state is closed
RuntimeError the Lua state is closed
RuntimeError the Lua state is closed
True
True
<moonlet.LuaTable
RuntimeError the Lua state is closed
True
()
RuntimeError the Lua state is closed
]])
    end)

    it("leaves Lua strings that Python sees where they are", function()
        scenario("strings_held", [[
closed
short	true	true	longlong	0
short	<moonlet.LuaString of a closed Lua state>
true
0
]])
    end)

    it("with an allocator of its own has all memory back", function()
        scenario("strings_copied", "0\ntexttexttext\n")
    end)

    it("gives back the memory that Lua saw as a buffer", function()
        scenario("buffer_held", [[
false	BufferError: Existing exports of data: object cannot be re-sized
false	[string "print(pcall(function() return b[0] end))"]:1: the buffer has been released
bytearray(b'xyz!')
false	the Lua state is closed
copied
]])
    end)

    it("may have two states, which see each other's values by way of Python", function()
        scenario("two_states", [[
1	1	two	nil
2
from a	1	2
from a	1	2
false	table: ADDRESS
2
5
from b	5	6
true
false	RuntimeError: the Lua state is closed
true	true
]])
    end)

    it("may have two states, each the one that moonlet.lua works in for what it has called", function()
        scenario("lua_module", [[
a
b	a	b
a	a	a
b	true
a	true
several Lua states run in this thread, and none of them has called this code
b
b
no Lua state runs in this thread
]])
    end)

    it("may have states in several threads, which take turns", function()
        scenario("two_threads", "done\ndone\n")
    end)

    it("may run its script in a coroutine, whose loops give turns", function()
        scenario("script_in_coroutine", "done\n")
    end)

    it("may open and close many states", function()
        scenario("many_states", "done\n")
    end)

    it("is not kept by greenlets that don't want to end", function()
        local output, status = run_host "stubborn"
        assert.equal(0, status)
        assert.equal("closed", output:match "closed")
    end)

    it("may have values on its stack, which hold what they refer to", function()
        scenario("collect_stack", "held\ttrue\nreleased\tfalse\n")
    end)

    it("collects garbage that runs through two states", function()
        scenario("collect_states", "2\ttrue\ttrue\n0\tfalse\tfalse\n0\n")
    end)

    it("may be ended by a greenlet", function()
        local output, status = run_host "exit_inside"
        assert.equal(sorted(ended), sorted(output))
        assert.equal(0, status)
    end)

    it("may run Python itself", function()
        scenario("attach", "42\t3\nended\n")
    end)

    it("must have Python's GIL then", function()
        local output, status = run_host "attach_without_gil"
        assert.equal("moonlet_open: Python runs already, but this thread has not got its GIL; take it before moonlet "
            .. "is loaded, and hold it while Lua runs\n", output)
        assert.equal(1, status)
    end)

    it("gives options to Python", function()
        local output, status = run_host "options"
        assert.matches("%['name', 'argument'%]\n%d+%.%d+%.%d+ 0\n$", output)
        assert.equal(0, status)
    end)
end)

describe("stock lua5.4", function()
    it("ends what the scheduler waits for on Ctrl-C", function()
        local code = [[
            local moonlet = require "moonlet"
            moonlet.python.exec [=[
import signal, threading, time
waits = threading.Event()
def interrupt(thread):
    waits.wait()
    time.sleep(0.05)
    signal.pthread_kill(thread, signal.SIGINT)
threading.Thread(target=interrupt, args=(threading.get_ident(),)).start()
]=]
            moonlet.spawn(function()
                local _ <close> = setmetatable({}, { __close = function() print "closed" end })
                moonlet.python.eval "waits.set()"
                moonlet.sleep(1000)
            end)
        ]]
        for _, wait in ipairs { "moonlet.sleep(1000)", "moonlet.run(moonlet.sleep, 1000)" } do
            local output, status = support.child(code .. wait)
            assert.matches("interrupted!", output)
            assert.matches("closed", output)
            assert.equal(1, status)
        end
    end)
end)
