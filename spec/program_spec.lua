-- The program: the flags of `lua`, --python, --trace, what it exits with, Ctrl-C and Ctrl-\.

local support = require "spec.support"
local run, shell, quote = support.run, support.shell, support.command

local program = support.program
local files = {}

local function file(content)
    local name = support.file(content)
    files[#files + 1] = name
    return name
end

teardown(function()
    for _, name in ipairs(files) do
        os.remove(name)
    end
end)

--- Checks the output of a run, and that it succeeds.
local function prints(expected, ...)
    local output, status = run(...)
    assert.equal(expected, output)
    assert.equal(0, status)
end

--- Checks what a failing run prints, as a pattern, and what it exits with.
local function fails(pattern, status, ...)
    local output, got = run(...)
    assert.matches(pattern, output)
    assert.equal(status, got)
end

local sys = 'local moonlet = require "moonlet"; local py = moonlet.python;'
    .. ' local sys = py.import "sys"; '

describe("moonlet", function()
    it("runs a script with its arguments and the table arg", function()
        local script = file "print(arg[0] == SCRIPT, arg[1], arg[2], #arg, ...)"
        prints("true\tx\ty\t2\tx\ty\n", "-e", ("SCRIPT = %q"):format(script), script, "x", "y")
        local show = file "print(arg[-1], arg[-2], arg[-3] ~= nil)"
        prints("--\t-W\ttrue\n", "-W", "--", show)
    end)

    it("gives options after the script to the script", function()
        prints("-e\t-v\n", file "print(...)", "-e", "-v")
    end)

    it("gives the script and its arguments to Python's sys.argv", function()
        local script = file(sys .. "print(sys.argv[0] == arg[0], sys.argv[1], #sys.argv)")
        prints("true\ta\t2\n", script, "a")
    end)

    it("-e runs code", function()
        prints("1\n2\n", "-e", "x = 1 print(x)", "-eprint(x + 1)")
    end)

    it("-l requires a library", function()
        prints("number\n", "-l", "math", "-e", "print(type(math.pi))")
        prints("number\n", "-lm=math", "-e", "print(type(m.pi))")
        prints("table\n", "-l", "moonlet", "-e", "print(type(moonlet))")
    end)

    it("-v shows the version", function()
        local output, status = run "-v"
        assert.matches("^moonlet %d+%.%d+%.%d+  Lua 5%.4", output)
        assert.equal(0, status)
    end)

    it("-W turns warnings on", function()
        prints("", "-e", "warn 'x'")
        prints("Lua warning: x\n", "-W", "-e", "warn 'x'")
    end)

    it("-E ignores the environment, else LUA_INIT is run", function()
        local command = "LUA_INIT='print(0)' LUA_PATH=nowhere "
        local code = "print(package.path:find('nowhere', 1, true) and 'path' or 'default')"
        assert.equal("0\npath\n", (shell(command .. quote(program, "-e", code))))
        assert.equal("default\n", (shell(command .. quote(program, "-E", "-e", code))))
    end)

    it("- runs standard input", function()
        local command = "echo 'print(\"input\", ...)' | "
        assert.equal("input\ta\n", (shell(command .. quote(program, "-", "a"))))
        assert.equal("input\n", (shell(command .. quote(program))))
    end)

    it("-- ends the options", function()
        prints("-x\n", "--", file "print(...)", "-x")
    end)

    it("-i is interactive after the script", function()
        local input = file "x\nx =\n6\n= x\nfor i = 1, 2 do\nprint(i)\nend\nx x\n"
        local output = shell(quote(program, "-i", "-e", "x = 5") .. " <" .. input)
        assert.matches("^moonlet ", output)
        assert.matches("> x\n5\n> x =\n>> 6\n> = x\n6\n", output, 1, true)
        assert.matches(">> end\n1\n2\n", output, 1, true)
        assert.matches("stdin:1: syntax error near 'x'", output, 1, true)
    end)

    it("--help tells the options", function()
        local output, status = run "--help"
        assert.matches("^usage: .*moonlet %[options%] %[script %[args%]%]\n", output)
        for _, option in ipairs { "-e", "-i", "-l", "-v", "-E", "-W", "--python=PATH" } do
            assert.truthy(output:find("\n  " .. option, 1, true), option)
        end
        assert.equal(0, status)
    end)

    it("refuses other options", function()
        fails("moonlet: unrecognized option '%-x'\nusage: ", 1, "-x")
        fails("moonlet: unrecognized option '%-%-nope'\nusage: ", 1, "--nope")
        fails("moonlet: '%-e' needs argument\nusage: ", 1, "-e")
        fails("moonlet: '%-%-python=' needs argument\nusage: ", 1, "--python=")
    end)
end)

describe("what it exits with:", function()
    it("0, when all went well", function()
        prints("", "-e", "")
    end)

    it("1 after an error in Lua, with its traceback", function()
        fails(
            "moonlet: %(command line%):1: oops\nstack traceback:\n.*in main chunk",
            1, "-e", "error 'oops'"
        )
        fails("%(error object is a table value%)", 1, "-e", "error {}")
        fails("moonlet: %(command line%):1: unexpected symbol near <eof>", 1, "-e", "x =")
        fails("moonlet: cannot open nosuch.lua", 1, "nosuch.lua")
        fails("moonlet: module 'nosuch' not found:", 1, "-l", "nosuch")
    end)

    it("1 after an exception of Python, with the traceback of both languages", function()
        local script = file(sys .. [[

            py.exec "def fail():\n    raise ValueError('oops')"
            local function lua()
                py.import("__main__").fail()
            end
            lua()
        ]])
        local output, status = run(script)
        assert.equal(1, status)
        assert.matches(
            "^Traceback %(most recent call last%):\n"
                .. '  File "[^"]+", line 6, in <main chunk>\n    lua%(%)\n'
                .. '  File "[^"]+", line 4, in lua\n    py.import%("__main__"%).fail%(%)\n'
                .. '  File "<python at [^"]+:2>", line 2, in fail\n'
                .. "ValueError: oops\n$",
            output
        )
    end)

    it("1 after a Lua error that passed through Python, with both", function()
        local code = "py.eval 'lambda f: f()' (function() error 'oops' end)"
        local output, status = run("-e", sys .. code)
        assert.equal(1, status)
        assert.matches("in <main chunk>\n.*in <lambda>\n.*moonlet.LuaError: .*:1: oops\n$", output)
    end)

    it("what sys.exit is given", function()
        fails("^$", 3, "-e", sys .. "sys.exit(3)")
        fails("^$", 0, "-e", sys .. "sys.exit()")
        fails("^message\n$", 1, "-e", sys .. "sys.exit('message')")
        fails("^$", 3, "-e", sys .. "moonlet.greenlet(sys.exit):switch(3)")
        fails("^$", 3, "-e", sys .. "moonlet.greenlet(function() sys.exit(3) end):switch()")
        fails("^$", 3, "-e", sys .. "py.eval 'lambda f: f()' (function() sys.exit(3) end)")
    end)

    it("what os.exit is given", function()
        fails("^$", 5, "-e", "os.exit(5)")
        fails("^$", 5, "-e", sys .. "os.exit(5, true)")
        fails("^$", 5, "-e", sys .. "moonlet.greenlet(function() os.exit(5) end):switch()")
    end)

    it("ends what is suspended, and Python, first", function()
        prints("closed\nfinally\natexit\n", "-e", sys .. [[
            local lua = moonlet.greenlet(function()
                local _ <close> = setmetatable({}, { __close = function() print "closed" end })
                moonlet.current().parent:switch()
            end)
            lua:switch()
            local main = py.import "__main__"
            main.lua = lua
            py.exec "import atexit; atexit.register(print, 'atexit', flush=True)"
            py.exec "from greenlet import getcurrent\n\
def body():\n\
  try: getcurrent().parent.switch()\n\
  finally: print('finally', flush=True)"
            g = moonlet.greenlet(main.body)
            g:switch()
            io.stdout:setvbuf "no"
        ]])
    end)
end)

describe("output", function()
    it("of both languages comes in order", function()
        prints("lua 1\npython 2\nlua 3\npython 4\n", "-e", sys .. [[
            print "lua 1" py.builtins.print("python 2") io.write "lua 3\n"
            sys.stdout:write "python 4\n"
        ]])
    end)
end)

describe("--python", function()
    local venv

    setup(function()
        venv = os.tmpname()
        os.remove(venv)
        local output, status = support.run_python("-m", "venv", "--without-pip", venv)
        assert.equal(0, status, output)
        local f = assert(io.open(venv .. "/lib/python3.11/site-packages/only_here.py", "w"))
        f:write "answer = 42\n"
        f:close()
    end)

    teardown(function()
        os.execute("rm -rf " .. venv)
    end)

    local code = sys .. "print(py.import 'only_here'.answer)"

    it("takes a virtual environment", function()
        prints("42\n", "--python=" .. venv, "-e", code)
        prints("42\n", "--python", venv, "-e", code)
        prints(venv .. "\n", "--python=" .. venv, "-e", sys .. "print(sys.prefix)")
        fails("No module named 'only_here'", 1, "-e", code)
    end)

    it("takes an interpreter", function()
        prints("42\n", "--python=" .. venv .. "/bin/python", "-e", code)
        prints("/usr\n", "--python=/usr/bin/python3", "-e", sys .. "print(sys.prefix)")
    end)

    it("says what is wrong with others, even if nothing uses Python", function()
        fails(
            "moonlet: python '/nosuch': No such file or directory\n",
            1,
            "--python=/nosuch",
            "-e",
            ""
        )
        fails(
            "moonlet: python '/etc': an interpreter or a virtual environment expected "
                .. "%(/etc/bin/python: No such file or directory%)\n",
            1, "--python=/etc", "-e", ""
        )
        fails("moonlet: python '/bin/true': it does not run as a Python interpreter\n", 1,
            "--python=/bin/true", "-e", "")
        local other = file "#!/bin/sh\necho -n cpython 3.8\n"
        os.execute("chmod +x " .. other)
        fails("moonlet: python '.-' is cpython 3.8, but this moonlet embeds cpython 3.11\n", 1,
            "--python=" .. other, "-e", "")
    end)
end)

describe("Ctrl-C stops", function()
    --- Sends SIGINT to a program that runs this code, once it has printed a line.
    local function interrupt(code, expected)
        local script = file(
            sys .. 'io.stdout:setvbuf "no"; local function ready() print "ready" end ' .. code
        )
        local output, status = shell(([[
            %s >%s.out 2>&1 & pid=$!
            trap "rm -f %s.out" EXIT
            for i in $(seq 100); do grep -q ready %s.out && break; sleep 0.05; done
            sleep 0.05
            kill -INT $pid
            (sleep 10; kill -KILL $pid) >/dev/null 2>&1 & watch=$!
            wait $pid; status=$?
            kill $watch
            cat %s.out
            exit $status
        ]]):format(quote(program, script), script, script, script, script))
        assert.matches(expected or "KeyboardInterrupt", output)
        return status
    end

    local function stops(what, code)
        it(what, function()
            assert.equal(130, interrupt(code))
        end)
    end

    stops("a loop in Lua", "ready() while true do end")
    stops("a loop of calls in Lua", "ready() while true do math.abs(1) end")
    stops("a loop in Python", "ready() py.exec 'while True: pass'")
    stops("a loop in a Lua greenlet", [[
        moonlet.greenlet(function() ready() while true do end end):switch()
    ]])
    stops("a loop in a Python greenlet", [[
        ready()
        moonlet.greenlet(py.eval "lambda: [0 for _ in iter(int, 1)]"):switch()
    ]])
    stops("a loop in a coroutine", [[
        coroutine.wrap(function() ready() while true do end end)()
    ]])
    stops("a loop in a coroutine of a coroutine of a greenlet", [[
        local f = coroutine.wrap(function() ready() while true do math.abs(1) end end)
        moonlet.greenlet(function() assert(coroutine.resume(coroutine.create(f))) end):switch()
    ]])
    it("is not raised between two steps of the scheduler, but does not wait for ever", function()
        local output, status = support.child [[
            local moonlet = require "moonlet"
            local py = moonlet.python
            py.exec("import os, signal, threading\n"
                .. "def later():\n"
                .. "    threading.Timer(0.003, os.kill, (os.getpid(), signal.SIGINT)).start()")
            local later, interrupt = py.eval "later", py.builtins.KeyboardInterrupt
            -- As if they were of the scheduler.
            local short = load("local n = 0 for i = 1, 250 do n = n + i end", "@moonlet/short.lua")
            local endless = load("while true do end", "@moonlet/endless.lua")
            local function catch(f)
                local _, where = xpcall(function()
                    later()
                    while true do
                        f()
                    end
                end, function(err)
                    return py.isinstance(err, interrupt) and debug.traceback("", 2) or err
                end)
                return where:match "^%s*stack traceback:%s*(moonlet/%w+.lua)" or "outside"
            end
            for _ = 1, 10 do
                print(catch(short))
            end
            print(catch(endless))
        ]]
        assert.equal(("outside\n"):rep(10) .. "moonlet/endless.lua\n", output)
        assert.equal(0, status)
    end)

    stops("what moonlet.call_soon_threadsafe calls, and what goes on then", [[
        moonlet.call_soon_threadsafe(function() ready() while true do end end)
        py.eval "None"
        while true do end
    ]])
    stops("a Lua loop that Python called", [[
        py.eval "lambda f: f()" (function() ready() while true do end end)
    ]])
    stops("a loop of switches", [[
        local g = moonlet.greenlet(function()
            while true do moonlet.current().parent:switch() end
        end)
        ready()
        while true do g:switch() end
    ]])
    stops("a wait in Python", "ready() py.import('time').sleep(100)")

    it("Lua before Python has started", function()
        local script = file 'io.stdout:setvbuf "no" print "ready" while true do ("x"):rep(9) end'
        local command = quote(program, script)
        local output, status = shell(command .. " & sleep 0.3; kill -INT $!; wait $!")
        assert.matches("interrupted!", output)
        assert.equal(130, status)
    end)

    it("switches at any moment of theirs", function()
        local script = file(sys .. [[
            io.stdout:setvbuf "line"
            local pid = py.import("os").getpid()
            for _ = 1, 100 do
                local g = moonlet.greenlet(function()
                    while true do moonlet.current().parent:switch() end
                end)
                local ok, err = pcall(function()
                    print(pid)
                    while true do g:switch() end
                end)
                assert(not ok and tostring(err) == "KeyboardInterrupt", tostring(err))
                if not g.dead then g:throw() end -- not later, in reach of the next one
            end
            print "done"
        ]])
        assert.equal("done\n", (shell(([[
            %s | while read line
            do case $line in done) echo done;; *) kill -INT $line;; esac; done
        ]]):format(quote(program, script)))))
    end)

    it("nothing, where KeyboardInterrupt is caught", function()
        assert.equal(0, interrupt([[
            print(pcall(function() ready() while true do end end))
            print(pcall(function() print "go on" end))
        ]], "false\tKeyboardInterrupt\ngo on\ntrue"))
    end)
end)

describe("Ctrl-\\ writes all tasks with their stacks, and the program goes on:", function()
    --- Sends SIGQUIT to a program that runs this code, once it has printed a line: what it writes to
    --- stderr. Then it has to end by itself.
    local function quit(code)
        local script = file(sys .. [[
            io.stdout:setvbuf "no"
            local function ready() print "ready" end
            local function busy()
                local stop = moonlet.now() + 30
                local seen = SCRIPT .. ".seen"
                while moonlet.now() < stop do
                    local file = io.open(seen)
                    if file then
                        file:close()
                        break
                    end
                end
            end
        ]] .. code .. "\nprint 'went on'")
        local output, status = shell(("f=%s; %s >$f.out 2>$f.err & pid=$!"):format(quote(script),
            quote(program, "-e", ("SCRIPT = %q"):format(script), script)) .. [[

            trap "rm -f $f.out $f.err $f.seen" EXIT
            for i in $(seq 200); do grep -q ready $f.out && break; sleep 0.05; done
            sleep 0.1
            kill -QUIT $pid
            for i in $(seq 200); do grep -q tasks $f.err && break; sleep 0.05; done
            touch $f.seen
            (sleep 20; kill -KILL $pid) >/dev/null 2>&1 & watch=$!
            wait $pid; status=$?
            kill $watch
            cat $f.out $f.err
            exit $status
        ]])
        assert.equal(0, status, output)
        assert.matches("went on\nmoonlet: tasks\n", output)
        return output
    end

    it("while the scheduler waits", function()
        local output = quit [[
            py.exec "import moonlet\ndef nap():\n  moonlet.sleep(0.7)"
            moonlet.run(function()
                moonlet.spawn(py.import("__main__").nap).name = "napper"
                moonlet.sleep()
                ready()
                moonlet.sleep(0.7)
            end)
        ]]
        assert.matches("\nnapper: waiting, used [%d.]+ s, waits for [%d.]+ s: sleep\n"
            .. "\t[^\n]*in Python function 'nap'\n", output)
    end)

    it("in a loop in Lua", function()
        local output = quit [[
            moonlet.run(function()
                moonlet.current_task().name = "looper"
                moonlet.spawn(moonlet.sleep, 0.1)
                moonlet.sleep()
                ready()
                busy()
            end)
        ]]
        assert.matches("\nlooper: running, [^\n]*\n.-in upvalue 'busy'\n", output)
        assert.matches(": waiting, [^\n]*: sleep\n", output)
    end)

    it("in a loop in a coroutine", function()
        local output = quit "coroutine.wrap(function() ready() busy() return 1 end)()"
        assert.matches("\nmain: running\n.-in upvalue 'busy'\n.-in function <.-in main chunk", output)
    end)

    it("in a loop in Python", function()
        local output = quit [[
            py.exec "import os, time\ndef loop(name):\n  while not os.path.exists(name): pass"
            ready()
            py.import("__main__").loop(SCRIPT .. ".seen")
        ]]
        assert.matches("\nmain: running\n.-in Python function 'loop'\n", output)
    end)

    it("in a wait in Python", function()
        local output = quit "ready() py.import('time').sleep(0.7)"
        assert.matches("\nmain: running\n.-in main chunk", output)
    end)
end)

describe("--trace", function()
    local json = require("moonlet").python.import "json"
    local name = os.tmpname()

    --- The names of the instants in the trace, which must be complete.
    local function instants()
        local input <close> = assert(io.open(name))
        local names = {}
        for event in require("moonlet").python.iter(json.loads(input:read "a")) do
            if event.ph == "i" then
                names[#names + 1] = event.name
            end
        end
        os.remove(name)
        return table.concat(names, " ")
    end

    local code = 'local moonlet = require "moonlet" moonlet.run(function() moonlet.sleep(0.001) %s end)'

    it("writes what tasks do", function()
        prints("", "--trace", name, "-e", code:format "")
        assert.equal("spawn wait wait end", instants())
        prints("", "--trace=" .. name, "-e", code:format "")
        assert.equal("spawn wait wait end", instants())
    end)

    it("writes a complete file when the program fails, exits or is interrupted", function()
        fails("oops", 1, "--trace", name, "-e", code:format "error 'oops'")
        assert.matches("^spawn wait wait end", instants())
        fails("^$", 3, "--trace", name, "-e", code:format "os.exit(3)")
        assert.equal("spawn wait wait", instants())
        fails("^$", 4, "--trace", name, "-e", code:format "moonlet.python.import('sys').exit(4)")
        assert.matches("^spawn wait wait end", instants())
        fails("KeyboardInterrupt", 130, "--trace", name, "-e",
            code:format "moonlet.python.import('signal').raise_signal(2) moonlet.sleep(1)")
        assert.matches("^spawn wait wait ", instants())
        fails("unexpected symbol", 1, "--trace", name, "-e", "?")
        assert.equal("", instants())
    end)

    it("writes an empty trace of a script that runs no tasks", function()
        prints("1\n", "--trace", name, "-e", "print(1)")
        assert.equal("", instants())
    end)

    it("fails at once if the file cannot be written", function()
        local expected = "moonlet: %-%-trace: FileNotFoundError: %[Errno 2%] No such file or directory: '/no/t'\n$"
        fails("^[^\n]*" .. expected, 1, "--trace=/no/t", "-e", "print(1)")
    end)

    it("needs a name", function()
        fails("'%-%-trace' needs argument\nusage:", 1, "--trace")
        fails("'%-%-trace=' needs argument\nusage:", 1, "--trace=")
    end)
end)
