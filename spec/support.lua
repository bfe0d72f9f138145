-- What the specs share: short names for common checks, and child processes for what crashes,
-- exits or is interrupted.

local moonlet = require "moonlet"
local py = moonlet.python

local support = {}

--- The program under test, and the interpreter that runs these specs (the program or lua5.4).
support.program = os.getenv "MOONLET" or "build/moonlet"
support.lua = package.preload.moonlet and support.program or "lua5.4"
support.hostile = os.getenv "MOONLET_HOSTILE" ~= nil
support.sanitized = os.getenv "MOONLET_SANITIZED" ~= nil

--- How much work a test that scales should do: less of it in a build that is slow.
function support.scaled(count)
    return support.sanitized and count // 5 or count
end

--- Runs Python statements in a namespace of their own, a dict, and returns it. The first line's
--- indentation is taken off all lines.
function support.python(code)
    local indent = code:match "^\n*([ ]*)"
    code = ("\n" .. code):gsub("\n" .. indent, "\n")
    local namespace = py.builtins.dict()
    py.exec(code, namespace)
    return namespace
end

local helpers = [[
    import moonlet
    def text_of(f, *args, **kwargs):
        try:
            f(*args, **kwargs)
        except BaseException as e:
            return type(e).__name__ + ": " + str(e)
        return "no error"
    def timed(f, *args):
        with moonlet.virtual_clock():
            return f(*args)
]]

--- Runs pieces of Python statements in one namespace and returns it. They may use `moonlet`; text_of(f, ...), the
--- exception of a call as text; and timed(f, ...), which calls f with a virtual clock.
function support.define(...)
    local namespace = support.python(helpers)
    for _, code in ipairs { ... } do
        py.exec(code, namespace)
    end
    return namespace
end

--- Runs main(...) of these Python statements, see support.define, as the main task with a virtual clock.
function support.run_timed(code, ...)
    local namespace = support.define(code)
    return moonlet.run(namespace.timed, namespace.main, ...)
end

--- A test that runs f as the main task, which must end.
function support.main(f)
    return function()
        moonlet.run(f)
    end
end

--- A test that runs f as the main task, with a limit for what never ends.
function support.task(f)
    return support.main(function()
        moonlet.fail_after(30, f)
    end)
end

--- Lets other tasks run until they wait.
function support.settle()
    for _ = 1, 5 do
        moonlet.sleep(0)
    end
    moonlet.sleep(0.001)
end

--- Is inside of something for a turn: room.inside is how many are, room.most how many were at once.
function support.visit(room)
    room.inside = (room.inside or 0) + 1
    room.most = math.max(room.most or 0, room.inside)
    moonlet.sleep()
    room.inside = room.inside - 1
end

--- Checks that an error is an exception of this class.
function support.is(err, class)
    if not py.isinstance(err, class) then
        error(("%s was expected, got %s"):format(class.__name__, tostring(err)), 2)
    end
end

--- Suspends the current greenlet: gives `...` to its parent.
function support.pause(...)
    return moonlet.current().parent:switch(...)
end

--- The error value of f(...), which must fail.
function support.error_of(f, ...)
    local ok, err = pcall(f, ...)
    assert(not ok, "an error was expected")
    return err
end

--- The text of the error of f(...), without the position that a Lua message begins with.
function support.message(f, ...)
    return (tostring(support.error_of(f, ...)):gsub("^[%w_./-]+%.lua:%d+: ", ""))
end

--- All that a greenlet passes and returns, switch by switch; with the first value of each only.
function support.drain(g, ...)
    local all = { (g:switch(...)) }
    while not g.dead do
        all[#all + 1] = g:switch()
    end
    return all
end

local threads

--- What another thread of Python made of f(...): its result, or its error as text.
function support.in_thread(f, ...)
    threads = threads or support.python [[
        import threading
        def run(f, *args):
            result = []
            def body():
                try:
                    result.append(f(*args))
                except BaseException as e:
                    result.append(type(e).__name__ + ": " + str(e))
            t = threading.Thread(target=body)
            t.start()
            t.join()
            return result[0]
    ]]
    return threads.run(f, ...)
end

--- Steps of Lua without Python, some milliseconds of them.
function support.work()
    local x = 0
    for i = 1, 1000000 do
        x = x + i
    end
    return x
end

--- Works, or does `step`, until `done()`; an error if that never happens.
function support.work_until(done, step)
    for _ = 1, 100000 do
        if done() then
            return
        end
        (step or support.work)()
    end
    error "it does not happen"
end

--- What is resident in memory now, in KiB.
function support.resident()
    for line in io.lines "/proc/self/status" do
        local size = line:match "^VmRSS:%s*(%d+)"
        if size then
            return tonumber(size)
        end
    end
end

--- Collects everything that is garbage, in both languages.
function support.collect()
    for _ = 1, 3 do
        collectgarbage()
        py.import("gc").collect()
    end
end

--- Checks that memory does not grow while f runs in rounds that are long enough to see a leak of
--- 100 bytes each time. It would show in every round; what else grows, by the pace of the
--- collectors, does so only in some.
function support.stays_small(count, f, bytes)
    if support.sanitized then
        count = count // 20
    end
    local least = math.huge
    for _ = 1, 6 do
        local before = support.resident()
        for _ = 1, count do
            f()
        end
        support.collect()
        least = math.min(least, support.resident() - before)
    end
    local allowed = support.sanitized and 20000 or count * (bytes or 64) // 1024
    assert(least < allowed, least .. " KiB more in every round")
end

--- The name of a new file with `content`, which the caller removes.
function support.file(content)
    local name = os.tmpname()
    local file = assert(io.open(name, "w"))
    file:write(content)
    file:close()
    return name
end

local function quote(text)
    return "'" .. text:gsub("'", [['\'']]) .. "'"
end

--- A shell command line of these words.
function support.command(...)
    local words = table.pack(...)
    for i = 1, words.n do
        words[i] = quote(words[i])
    end
    return table.concat(words, " ")
end

--- Runs a shell command: its output, stderr too, and its exit status (128 + n if it died of
--- signal n).
function support.shell(command)
    local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1"))
    local output = pipe:read "a"
    local _, how, code = pipe:close()
    return output, how == "signal" and 128 + code or code
end

--- Runs the program with these arguments.
function support.run(...)
    return support.shell(support.command(support.program, ...))
end

--- Runs Debian's Python, for which a sanitizer that is loaded before everything is no good.
function support.run_python(...)
    return support.shell("env -u LD_PRELOAD " .. support.command("/usr/bin/python3", ...))
end

--- Runs Lua code in a new process of the interpreter that runs the specs.
function support.child(code, ...)
    local name = support.file(code)
    local output, status = support.shell(support.command(support.lua, name, ...))
    os.remove(name)
    return (output:gsub(name:gsub("%p", "%%%0"), "SCRIPT")), status
end

return support
