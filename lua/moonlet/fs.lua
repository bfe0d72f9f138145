-- Files: moonlet.fs. What may take time is done in luv's threads, so that other tasks run meanwhile.

local file = require "moonlet.file"
local hub = require "moonlet.hub"
local oserror = require "moonlet.oserror"
local request = require "moonlet.request"

local fs = {}

local uv = request.uv
local constants = uv.constants
local call, check_path = request.call, oserror.check_path

-- The result of f(path, ..., callback), or raises the OSError.
local function do_call(what, path, f, ...)
    local ok, result = call(what, path, nil, nil, f, path, ...)
    if not ok then
        oserror.raise(result, nil, path)
    end
    return result
end

-- ----------------------------------------------------------------------------------- files

local CREATE = constants.O_WRONLY | constants.O_CREAT
local base_flags = {
    r = constants.O_RDONLY,
    w = CREATE | constants.O_TRUNC,
    a = CREATE | constants.O_APPEND,
    x = CREATE | constants.O_EXCL,
}

local function flags_of(mode, name)
    if type(mode) ~= "string" then
        hub.bad_argument(2, name, "mode", mode)
    end
    local kind, plus = mode:match "^([rwax])b?(%+?)b?$"
    if not kind then
        hub.misuse("ValueError", ("bad argument #2 to '%s' (there is no mode '%s')"):format(name, mode))
    end
    local flags = base_flags[kind]
    if plus == "+" then
        flags = flags & ~constants.O_WRONLY | constants.O_RDWR
    end
    return flags, kind == "a"
end

--- fs.open(path [, mode]): opens a file. Modes: "r" (the default), "w", "a" as in Lua's io.open, "x" for a new file,
--- with "+" for both reading and writing. Raises OSError, such as FileNotFoundError.
function fs.open(path, mode)
    check_path(path, "open", 1)
    local flags, append = flags_of(mode or "r", "open")
    local ok, fd = call("open", path, uv.fs_close, nil, uv.fs_open, path, flags, 438)
    if not ok then
        oserror.raise(fd, nil, path)
    end
    local stat = uv.fs_fstat(fd)
    if stat.type == "directory" then
        uv.fs_close(fd)
        oserror.raise("EISDIR", nil, path)
    end
    return file.new(fd, path, stat.type == "file", append)
end

--- fs.read(path): all of a file.
function fs.read(path)
    check_path(path, "read", 1)
    local f <close> = fs.open(path)
    return f:read_all()
end

local function write_all(name, mode, path, data)
    check_path(path, name, 1)
    if type(data) ~= "string" and type(data) ~= "table" then
        hub.bad_argument(2, name, "string", data)
    end
    local f <close> = fs.open(path, mode)
    f:write(data)
end

--- fs.write(path, data): replaces the content of a file, which is made if it does not exist.
function fs.write(path, data)
    write_all("write", "w", path, data)
end

--- fs.append(path, data): adds to the end of a file, which is made if it does not exist.
function fs.append(path, data)
    write_all("append", "a", path, data)
end

--- fs.lines(path): for line in fs.lines(path) do
function fs.lines(path)
    check_path(path, "lines", 1)
    local f = fs.open(path)
    return function()
        local line = f:read_line()
        if not line then
            f:close()
        end
        return line
    end, nil, nil, f
end

-- ---------------------------------------------------------------------------- what there is

--- fs.stat(path): a table with `type` ("file", "directory", "link", ...), `size`, `mode`, `uid`, `gid`, `ino`,
--- `dev`, `nlink`, and the times `mtime`, `atime`, `ctime`, `birthtime` in seconds. Raises FileNotFoundError.
function fs.stat(path)
    return file.stat_table(do_call("stat", check_path(path, "stat", 1), uv.fs_stat))
end

--- fs.lstat(path): the same, of a symbolic link itself.
function fs.lstat(path)
    return file.stat_table(do_call("stat", check_path(path, "lstat", 1), uv.fs_lstat))
end

--- fs.exists(path): whether there is something.
function fs.exists(path)
    check_path(path, "exists", 1)
    local ok, text = call("stat", path, nil, nil, uv.fs_stat, path)
    if ok then
        return true
    end
    local name = oserror.name(text)
    if name == "ENOENT" or name == "ENOTDIR" then
        return false
    end
    oserror.raise(text, nil, path)
end

--- fs.list(path): the names in a directory, sorted; and a table with the type of each.
function fs.list(path)
    local scan = do_call("list", check_path(path, "list", 1), uv.fs_scandir)
    local names, types = {}, {}
    while true do
        local name, kind = uv.fs_scandir_next(scan)
        if not name then
            break
        end
        names[#names + 1] = name
        types[name] = kind or "unknown"
    end
    table.sort(names)
    return names, types
end

--- fs.scandir(path): for name, type in fs.scandir(path) do
function fs.scandir(path)
    check_path(path, "scandir", 1)
    local names, types = fs.list(path)
    local i = 0
    return function()
        i = i + 1
        return names[i], types[names[i]]
    end
end

-- ------------------------------------------------------------------------------- changing it

local mkdir_options = { parents = true, mode = true }

--- fs.mkdir(path [, options]): makes a directory. Options: `parents`: those above, too, and it may exist
--- already; `mode`.
function fs.mkdir(path, options)
    check_path(path, "mkdir", 1)
    options = oserror.check_options(options, mkdir_options, "mkdir", 2)
    local mode = options.mode or 511
    if math.type(mode) ~= "integer" then
        hub.bad_argument(2, "mkdir", "mode", mode)
    end
    if not options.parents then
        do_call("mkdir", path, uv.fs_mkdir, mode)
        return
    end
    local ok, text = call("mkdir", path, nil, nil, uv.fs_mkdir, path, mode)
    if ok then
        return
    end
    local name = oserror.name(text)
    local parent = path:match "^(.*[^/])/+[^/]+/*$"
    if name == "ENOENT" and parent then
        fs.mkdir(parent, { parents = true })
        fs.mkdir(path, options)
    elseif not (name == "EEXIST" and fs.stat(path).type == "directory") then
        oserror.raise(text, nil, path)
    end
end

--- fs.rmdir(path): removes an empty directory.
function fs.rmdir(path)
    do_call("rmdir", check_path(path, "rmdir", 1), uv.fs_rmdir)
end

--- fs.unlink(path): removes a file.
function fs.unlink(path)
    do_call("unlink", check_path(path, "unlink", 1), uv.fs_unlink)
end

--- fs.rmtree(path): removes a directory with all that is in it. Symbolic links are not followed.
function fs.rmtree(path)
    check_path(path, "rmtree", 1)
    local names, types = fs.list(path)
    for _, name in ipairs(names) do
        local inner = path .. "/" .. name
        local kind = types[name]
        if kind == "unknown" then
            kind = fs.lstat(inner).type
        end
        if kind == "directory" then
            fs.rmtree(inner)
        else
            fs.unlink(inner)
        end
    end
    fs.rmdir(path)
end

local function two(name, f)
    return function(from, to)
        check_path(from, name, 1)
        check_path(to, name, 2)
        do_call(name, from, f, to)
    end
end

--- fs.rename(from, to): what is at `to` is replaced.
fs.rename = two("rename", uv.fs_rename)

--- fs.copy(from, to): copies a file; what is at `to` is replaced.
fs.copy = two("copy", uv.fs_copyfile)

--- fs.link(from, to): another name for a file.
fs.link = two("link", uv.fs_link)

--- fs.symlink(target, path): makes a symbolic link.
fs.symlink = two("symlink", uv.fs_symlink)

--- fs.readlink(path): where a symbolic link leads to.
function fs.readlink(path)
    return do_call("readlink", check_path(path, "readlink", 1), uv.fs_readlink)
end

--- fs.realpath(path): the absolute path, without symbolic links.
function fs.realpath(path)
    return do_call("realpath", check_path(path, "realpath", 1), uv.fs_realpath)
end

--- fs.chmod(path, mode)
function fs.chmod(path, mode)
    check_path(path, "chmod", 1)
    if math.type(mode) ~= "integer" then
        hub.bad_argument(2, "chmod", "mode", mode)
    end
    do_call("chmod", path, uv.fs_chmod, mode)
end

local function template(prefix, name)
    if prefix == nil then
        prefix = uv.os_tmpdir() .. "/moonlet-"
    end
    return check_path(prefix, name, 1) .. "XXXXXX"
end

--- fs.mkdtemp([prefix]): a new directory, whose path begins so. Returns the path.
function fs.mkdtemp(prefix)
    return do_call("mkdtemp", template(prefix, "mkdtemp"), uv.fs_mkdtemp)
end

--- fs.mkstemp([prefix]): a new file, whose path begins so. Returns the file, open for both, and the path.
function fs.mkstemp(prefix)
    local path = template(prefix, "mkstemp")
    local ok, fd, name = call("mkstemp", path, uv.fs_close, nil, uv.fs_mkstemp, path)
    if not ok then
        oserror.raise(fd, nil, path)
    end
    return file.new(fd, name, true, false), name
end

--- fs.watch(path): a watcher of a file, or of what is in a directory.
function fs.watch(path)
    check_path(path, "watch", 1)
    return require("moonlet.watcher").new(path)
end

return fs
