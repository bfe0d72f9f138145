-- moonlet.process: other programs.

local moonlet = require "moonlet"
local support = require "spec.support"
local process, net = moonlet.process, moonlet.net
local py = moonlet.python
local message, error_of = support.message, support.error_of
local task, is = support.task, support.is

--- Whether there is a process of this number, a zombie included.
local function exists(pid)
    return moonlet.fs.exists(("/proc/%d"):format(pid))
end

describe("process.run", function()
    it("gives the status and what was written", task(function()
        assert.same({ 0, "out\n", "" }, { process.run("echo", { "out" }) })
        assert.same({ 3, "", "err\n" }, { process.run { "sh", "-c", "echo err >&2; exit 3" } })
    end))

    it("gives the program its input, and reads at the same time", task(function()
        local big = ("\0\1\2\xff"):rep(500000)
        local code, out = process.run { "cat", input = big }
        assert.is_true(code == 0 and out == big)
        assert.same({ 0, "", "" }, { process.run "cat" })
        assert.equal(0, (process.run { "true", input = big })) -- which does not read it
    end))

    it("passes arguments as they are", task(function()
        local _, out = process.run("printf", { "%s|", "a b", "", "'$x'", 3 })
        assert.equal("a b||'$x'|3|", out)
    end))

    it("has an environment and a directory", task(function()
        local _, out = process.run { "/bin/sh", "-c", "echo $A $B; pwd", env = { A = "1", B = 2 }, cwd = "/" }
        assert.equal("1 2\n/\n", out)
        is(error_of(process.run, { "true", cwd = "/none" }), py.builtins.FileNotFoundError)
    end))

    it("joins stderr to stdout", task(function()
        local code, out, err = process.run { "sh", "-c", "echo 1; echo 2 >&2; echo 3", stderr = "stdout" }
        assert.same({ 0, "1\n2\n3\n" }, { code, out })
        assert.is_nil(err)
    end))

    it("tells which signal has ended the program", task(function()
        assert.equal(-9, (process.run { "sh", "-c", "kill -9 $$" }))
    end))

    it("kills the program at the timeout, and leaves no zombie", task(function()
        local err = error_of(process.run, { "sleep", "100", timeout = 0.02 })
        is(err, py.builtins.TimeoutError)
        assert.equal("TimeoutError: run sleep: timed out after 0.02 seconds", tostring(err))
        local r, w = net.pipe()
        error_of(process.run, { "sh", "-c", "echo $$; exec sleep 100", stdout = w, timeout = 0.2 })
        w:close()
        assert.is_false(exists(tonumber(r:read_line()) // 1))
    end))

    it("kills it when its task is cancelled", task(function()
        local r, w = net.pipe()
        local t = moonlet.spawn(process.run, { "sh", "-c", "echo $$; exec sleep 100", stdout = w })
        w = nil -- luacheck: ignore
        local pid = math.tointeger(tonumber(r:read_line()))
        assert.is_true(exists(pid))
        t:cancel()
        t:wait()
        assert.is_false(exists(pid))
    end))

    it("refuses what cannot be run", task(function()
        local err = error_of(process.run, "no-such-program")
        is(err, py.builtins.FileNotFoundError)
        assert.equal("[Errno 2] No such file or directory: 'no-such-program'", py.builtins.str(err))
        is(error_of(process.run, "/etc/passwd"), py.builtins.PermissionError)
        assert.equal("bad argument #1 to 'run' (string expected, got nil)", message(process.run))
        assert.matches("the table has no program at 1", message(process.run, {}))
        assert.matches("expected as argument 2 of the program, got table", message(process.run, "a", { "b", {} }))
        assert.matches("there is no option 'dir'", message(process.run, { "a", dir = "/" }))
        assert.matches("bad option 'input' of 'run' %(string expected", message(process.run, { "a", input = 1 }))
        assert.matches("bad option 'stdin' of 'run'", message(process.run, { "a", input = "", stdin = "null" }))
        assert.matches("bad option 'stdout' %('pipe', .* got 'file'%)", message(process.run, { "a", stdout = "file" }))
        assert.matches("bad option 'env' of 'run' %(table expected", message(process.run, { "a", env = "A=1" }))
        assert.matches("argument 1 of the program has a zero byte", message(process.run, { "a", "b\0" }))
    end))
end)

describe("a process", function()
    it("is talked to by streams", task(function()
        local p <close> = process.spawn "cat"
        p.stdin:write "one\n"
        assert.equal("one", p.stdout:read_line())
        p.stdin:write "two"
        p.stdin:close()
        assert.equal("two", p.stdout:read_all())
        assert.equal("", p.stderr:read_all())
        assert.same({ 0 }, { p:wait() })
        assert.same({ true, 0 }, { p.ended, p.code })
        assert.matches("^process %d+ %(cat%)$", tostring(p))
    end))

    it("is waited for by several tasks, with a timeout, and cancelled", task(function()
        local p <close> = process.spawn("cat", {}, { stdout = "null", stderr = "inherit" })
        assert.is_nil(p.stdout)
        assert.is_nil(p.stderr)
        is(error_of(p.wait, p, 0.01), py.builtins.TimeoutError)
        assert.is_false(moonlet.move_on_after(0.01, p.wait, p))
        local first, second = moonlet.spawn(p.wait, p), moonlet.spawn(p.wait, p)
        moonlet.sleep(0)
        p.stdin:close()
        assert.same({ 0, 0 }, { first:join(), second:join() })
    end))

    it("is sent signals", task(function()
        local p = process.spawn("sleep", { "100" })
        assert.is_true(p:kill())
        assert.same({ -15, "SIGTERM" }, { p:wait() })
        assert.is_false(p:kill "SIGKILL")
        assert.is_false(exists(p.pid))
        p = process.spawn("sleep", { "100" })
        assert.matches("there is no signal 'SIGNONE'", message(p.kill, p, "SIGNONE"))
        assert.matches("there is no signal 0", message(p.kill, p, 0))
        assert.is_true(p:kill "int")
        assert.same({ -2, "SIGINT" }, { p:wait() })
    end))

    it("is killed at the end of its block", task(function()
        local pid
        do
            local p <close> = process.spawn("sleep", { "100" })
            pid = p.pid
            assert.is_true(exists(pid))
        end
        assert.is_false(exists(pid))
    end))

    it("leaves no zombie where nobody waits for it", task(function()
        local pid = process.spawn("true").pid
        for _ = 1, 1000 do
            if not exists(pid) then
                break
            end
            moonlet.sleep(0.005)
        end
        assert.is_false(exists(pid))
    end))

    it("writes to a file or another stream", task(function()
        local f, path = moonlet.fs.mkstemp()
        local p = process.spawn { "echo", "to the file", stdout = f }
        assert.equal(0, (p:wait()))
        assert.equal("to the file\n", moonlet.fs.read(path))
        f:close()
        os.remove(path)
    end))

    it("runs beside many others", task(function()
        local sum = 0
        moonlet.nursery(function(n)
            for i = 1, 20 do
                n:spawn(function()
                    local _, out = process.run("echo", { i })
                    sum = sum + tonumber(out)
                end)
            end
        end)
        assert.equal(210, sum)
    end))
end)
