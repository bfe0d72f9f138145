-- Other programs: moonlet.process.

local class = require "moonlet.class"
local closable = require "moonlet.closable"
local hub = require "moonlet.hub"
local moonlet = require "moonlet"
local native = require "moonlet.native"
local nursery = require "moonlet.nursery"
local oserror = require "moonlet.oserror"
local request = require "moonlet.request"
local scope = require "moonlet.scope"
local signals = require "moonlet.signals"
local stream = require "moonlet.stream"
local waiting = require "moonlet.waiting"
local waitlist = require "moonlet.waitlist"

local process = {}

local uv = request.uv

local methods, properties = {}, {}
local Process = class.define("process", methods, properties)
local check = closable.checker(Process)

-- ---------------------------------------------------------------------------------- options

local spawn_options = {
    stdin = true,
    stdout = true,
    stderr = true,
    cwd = true,
    env = true,
    uid = true,
    gid = true,
    detached = true,
}
local run_options = { input = true, timeout = true }
for name in pairs(spawn_options) do
    run_options[name] = true
end

-- The file, the list of arguments, and the options, from what a function was called with: f(file, args,
-- options), or f { file, arg, ..., option = ... }.
local function take_arguments(name, known, file, args, options)
    if type(file) == "table" then
        options, args = {}, {}
        for key, value in pairs(file) do
            if math.type(key) == "integer" then
                args[key - 1] = value
            else
                options[key] = value
            end
        end
        file, args[0] = args[0], nil
        if file == nil then
            hub.misuse("ValueError", ("bad argument #1 to '%s' (the table has no program at 1)"):format(name))
        end
    end
    oserror.check_path(file, name, 1)
    if args == nil then
        args = {}
    elseif type(args) ~= "table" then
        hub.bad_argument(2, name, "list of arguments", args)
    end
    local list = {}
    for i = 1, #args do
        local arg = args[i]
        if type(arg) == "number" then
            arg = tostring(arg)
        end
        if type(arg) ~= "string" then
            local text = "bad argument to '%s' (a string expected as argument %d of the program, got %s)"
            hub.misuse("TypeError", text:format(name, i, hub.type_name(arg)))
        elseif arg:find("\0", 1, true) then
            local text = "bad argument to '%s' (argument %d of the program has a zero byte)"
            hub.misuse("ValueError", text:format(name, i))
        end
        list[i] = arg
    end
    return file, list, oserror.check_options(options, known, name, 3)
end

local function environment(env, name)
    if env == nil then
        return nil
    elseif type(env) ~= "table" then
        hub.misuse("TypeError", ("bad option 'env' of '%s' (table expected, got %s)"):format(name, hub.type_name(env)))
    end
    local list = {}
    for key, value in pairs(env) do
        value = type(value) == "number" and tostring(value) or value
        if type(key) ~= "string" or type(value) ~= "string" or (key .. value):find("\0", 1, true) then
            hub.misuse("TypeError", ("bad option 'env' of '%s' (names and values expected, all strings)"):format(name))
        end
        list[#list + 1] = key .. "=" .. value
    end
    return list
end

-- One of the three: what luv gets for it, and the stream of this side, which is made when all has succeeded.
local function standard_stream(what, option, fd, made)
    if option == nil or option == "pipe" then
        local handle = request.handle(uv.new_pipe(false))
        made[#made + 1] = handle
        return handle, handle
    elseif option == "inherit" then
        return fd
    elseif option == "null" then
        return nil
    elseif math.type(option) == "integer" and option >= 0 then
        return option
    elseif stream.is_stream(option) or (type(option) == "table" and option.fileno) then
        return option:fileno()
    end
    local text = "bad option '%s' ('pipe', 'inherit', 'null', a stream, a file or a descriptor expected, got %s)"
    local got = type(option) == "string" and "'" .. option .. "'" or hub.type_name(option)
    hub.misuse("TypeError", text:format(what, got))
end

-- ----------------------------------------------------------------------------------- spawning

-- A pipe whose writing end several standard streams of the program can share: that, and the handle that
-- reads.
local function shared_pipe(made)
    local fds, text = uv.pipe({ nonblock = true }, {})
    if not fds then
        oserror.raise(text, "pipe")
    end
    local handle = request.handle(uv.new_pipe(false))
    made[#made + 1] = handle
    uv.pipe_open(handle, fds.read)
    return fds.write, handle
end

local function make_on_exit(core)
    return function(code, number)
        core.code, core.signal = code, number
        if number ~= 0 then
            core.code = -number
        end
        core.ended = true
        request.close(core.handle)
        waiting.wake_all(core.waiters)
    end
end

local function start(file, list, options, name, made)
    local stdio, ours = {}, {}
    local writing
    stdio[1], ours[1] = standard_stream("stdin", options.stdin, 0, made)
    if options.stderr == "stdout" and (options.stdout == nil or options.stdout == "pipe") then
        writing, ours[2] = shared_pipe(made)
        stdio[2], stdio[3] = writing, writing
    else
        stdio[2], ours[2] = standard_stream("stdout", options.stdout, 1, made)
        if options.stderr == "stdout" then
            stdio[3] = stdio[2]
        else
            stdio[3], ours[3] = standard_stream("stderr", options.stderr, 2, made)
        end
    end
    -- luv takes the length of the list.
    local null
    for i = 1, 3 do
        if stdio[i] == nil then
            null = null or assert(uv.fs_open("/dev/null", "r+", 0))
            stdio[i] = null
        end
    end
    local core = { waiters = {}, ended = false, file = file, code = false, signal = false }
    local handle, pid = uv.spawn(file, {
        args = list,
        stdio = stdio,
        cwd = options.cwd,
        env = environment(options.env, name),
        uid = options.uid,
        gid = options.gid,
        detached = options.detached,
    }, make_on_exit(core))
    if writing then
        uv.fs_close(writing)
    end
    if null then
        uv.fs_close(null)
    end
    return core, handle, pid, ours
end

local names = { "stdin", "stdout", "stderr" }

local function spawn(name, file, list, options)
    if options.cwd ~= nil then
        if type(options.cwd) ~= "string" or options.cwd:find("\0", 1, true) then
            hub.misuse("TypeError", ("bad option 'cwd' (path expected, got %s)"):format(hub.type_name(options.cwd)))
        end
        local stat, text = uv.fs_stat(options.cwd)
        if not stat then
            oserror.raise(text, nil, options.cwd)
        end
    end
    environment(options.env, name)
    local made = {}
    local ok, core, handle, pid, ours = native.pcall(start, file, list, options, name, made)
    if not ok or not handle then
        for _, one in ipairs(made) do
            request.close(one)
        end
        if not ok then
            error(core, 0)
        end
        oserror.raise(pid, nil, file)
    end
    core.handle, core.pid = handle, pid
    for i = 1, 3 do
        core[i] = ours[i] and stream.new(ours[i], "pipe", ("%s of %s (%d)"):format(names[i], file, pid))
    end
    return setmetatable({ core = core }, Process)
end

--- process.spawn(file [, args [, options]]), process.spawn { file, arg, ..., option = value }: starts a program, which
--- is searched for in PATH. Options: `stdin`, `stdout`, `stderr`: "pipe" (the default: the field of that name is a
--- stream), "inherit", "null", a stream, a file or a descriptor; `stderr` can be "stdout"; `cwd`; `env`, a table that
--- replaces the environment; `uid`, `gid`; `detached`: in a session of its own. Raises OSError, such as
--- FileNotFoundError.
function process.spawn(file, args, options)
    file, args, options = take_arguments("spawn", spawn_options, file, args, options)
    return spawn("spawn", file, args, options)
end

-- --------------------------------------------------------------------------------- processes

--- process:wait([timeout]): waits until the program has ended. Returns its exit status, and nil; or, if a signal has
--- ended it, minus its number, and its name. TimeoutError: not within `timeout` seconds.
function methods.wait(self, timeout)
    local core = check(self, "wait")
    oserror.check_timeout(timeout, "wait", 1)
    if core.ended then
        hub.pass()
    else
        local entry = { task = hub.self(), what = "process", on = self, undo = waitlist.remove }
        waitlist.push(core.waiters, entry)
        if not hub.wait(entry, timeout) then
            oserror.timed_out("wait for " .. tostring(self), timeout)
        end
    end
    return core.code, core.signal ~= 0 and signals.name(core.signal) or nil
end

--- process:kill([signal]): sends a signal, SIGTERM by default. False: it has ended.
function methods.kill(self, signal)
    local core = check(self, "kill")
    local number = signal == nil and uv.constants.SIGTERM or signals.number(signal, "kill", 1)
    if core.ended then
        return false
    end
    local ok, text, name = uv.process_kill(core.handle, number)
    if not ok then
        if name == "ESRCH" then
            return false
        end
        oserror.raise(text, "kill " .. tostring(self))
    end
    return true
end

--- process:close(): closes the streams, ends the program with SIGKILL if it has not ended, and waits for it; as the
--- end of a <close> variable does.
function methods.close(self)
    local core = check(self, "close")
    for i = 1, 3 do
        if core[i] then
            core[i]:close()
        end
    end
    if not core.ended and not request.gone then
        methods.kill(self, "SIGKILL")
        scope.shield(methods.wait, self)
    end
end

function Process.__close(self)
    methods.close(self)
end

--- What it reads and writes: streams; nil where that is no pipe.
for i = 1, 3 do
    properties[names[i]] = function(self)
        return self.core[i]
    end
end

--- The number of the process.
function properties.pid(self)
    return self.core.pid
end

--- Whether it has ended.
function properties.ended(self)
    return self.core.ended
end

--- The exit status, as of wait; nil before the end.
function properties.code(self)
    return self.core.ended and self.core.code or nil
end

function Process.__tostring(self)
    return ("process %d (%s)"):format(self.core.pid, self.core.file)
end

-- --------------------------------------------------------------------------------------- run

local function write_input(s, input)
    local ok, err = pcall(s.write, s, input)
    s:close()
    if ok then
        return
    end
    local exceptions = moonlet.python.builtins
    local isinstance = moonlet.python.isinstance
    if not (isinstance(err, exceptions.BrokenPipeError) or isinstance(err, exceptions.ConnectionResetError)) then
        error(err, 0) -- the others: it does not want to read all of it
    end
end

local function communicate(p, input)
    local results = {}
    nursery.nursery(function(n)
        if p.stdin then
            n:spawn(write_input, p.stdin, input or "")
        end
        for _, name in ipairs { "stdout", "stderr" } do
            if p[name] then
                n:spawn(function()
                    results[name] = p[name]:read_all()
                end)
            end
        end
        results.code = p:wait()
    end)
    return results
end

--- process.run(file [, args [, options]]), process.run { file, arg, ..., option = value }: runs a program to its end.
--- Options as of spawn, and `input`, a string that it reads; without one its stdin is empty; `timeout` in seconds. A
--- cancel and the timeout kill it. Returns the exit status as of process:wait, and what it has written to stdout
--- and stderr.
function process.run(file, args, options)
    file, args, options = take_arguments("run", run_options, file, args, options)
    local input, timeout = options.input, options.timeout
    if input ~= nil and type(input) ~= "string" then
        hub.misuse("TypeError", ("bad option 'input' of 'run' (string expected, got %s)"):format(hub.type_name(input)))
    end
    oserror.check_timeout(timeout, "run", 3)
    if input ~= nil and options.stdin ~= nil and options.stdin ~= "pipe" then
        hub.misuse("ValueError", "bad option 'stdin' of 'run' (there is an input)")
    end
    local p <close> = spawn("run", file, args, options)
    local results
    if timeout then
        local done
        done, results = scope.move_on_after(timeout, communicate, p, input)
        if not done then
            oserror.timed_out("run " .. file, timeout)
        end
    else
        results = communicate(p, input)
    end
    return results.code, results.stdout, results.stderr
end

return process
