-- Open files.

local closable = require "moonlet.closable"
local hub = require "moonlet.hub"
local native = require "moonlet.native"
local oserror = require "moonlet.oserror"
local reader = require "moonlet.reader"
local request = require "moonlet.request"

local file = {}

local uv = request.uv
local call = request.call

-- How much is read at a time.
local CHUNK = 64 * 1024

local methods, properties = {}, {}
local File, check, check_open = closable.define("file", methods, properties, function(core)
    uv.fs_close(core.fd)
end)
for name, method in pairs(reader.methods(File)) do
    methods[name] = method
end

-- core.position is where is read next; the buffer has what comes before it. -1: the file has no positions.
local function logical(core)
    return core.position < 0 and -1 or core.position - core.size
end

local function read_chunk(self, core, want, timeout)
    local size = math.max(CHUNK, math.min(want - core.size, 16 * CHUNK)) // 1
    local position = core.position
    local function keep(data)
        if position < 0 and #data > 0 then -- a pipe has given it only once
            reader.push(core, data)
        end
    end
    local ok, data = call("read", self, keep, timeout, uv.fs_read, core.fd, math.tointeger(size), position)
    if ok == nil then
        return false
    elseif not ok then
        oserror.raise(data, nil, core.path)
    elseif data == "" then
        core.ended = true
    elseif not core.closed then
        reader.push(core, data)
        if position >= 0 then
            core.position = position + #data
        end
    end
    return true
end

local function fill(self, core, want, timeout)
    core.reader = true
    local ok, result = native.pcall(read_chunk, self, core, want, timeout)
    core.reader = false
    if not ok then
        error(result, 0)
    end
    return result
end

--- A file for a descriptor.
function file.new(fd, path, seekable, append)
    local core = reader.init { fd = fd, path = path, position = seekable and 0 or -1, append = append, fill = fill }
    return setmetatable({ core = core }, File)
end

--- A file for a descriptor that others may have, too: it reads and writes where that is.
function file.of_descriptor(fd, name)
    return file.new(fd, name, false, false)
end

local function check_usable(self, name)
    local core = check_open(self, name)
    if core.reader then
        hub.misuse("RuntimeError", ("another task is reading from %s"):format(tostring(self)))
    end
    return core
end

-- Where a file ends may change: an end is one only for the read that has seen it.
for _, name in ipairs { "read", "read_exactly", "read_until", "read_line", "read_all" } do
    local method = methods[name]
    methods[name] = function(self, ...)
        if getmetatable(self) == File then
            self.core.ended = false
        end
        return method(self, ...)
    end
end

--- file:write(data): writes a string, or a list of strings.
function methods.write(self, data)
    local core = check_usable(self, "write")
    if type(data) == "table" then
        for i = 1, #data do
            if type(data[i]) ~= "string" then
                local text = "bad argument #1 to 'write' (a string expected at %d, got %s)"
                hub.misuse("TypeError", text:format(i, hub.type_name(data[i])))
            end
        end
        data = table.concat(data)
    end
    oserror.check_string(data, "write", 1)
    local position = core.append and -1 or logical(core)
    if position >= 0 then
        core.position = position + #data -- others may write after it meanwhile
    end
    reader.clear(core)
    while #data > 0 do
        local ok, written = call("write", self, nil, nil, uv.fs_write, core.fd, data, position)
        if not ok then
            oserror.raise(written, nil, core.path)
        end
        data = data:sub(written + 1)
        if position >= 0 then
            position = position + written
        end
    end
end

--- file:seek([whence [, offset]]): as in Lua's io: sets the position, relative to "set", "cur" (the default) or
--- "end", and returns it.
function methods.seek(self, whence, offset)
    local core = check_usable(self, "seek")
    whence = whence or "cur"
    offset = offset or 0
    if math.type(offset) ~= "integer" then
        hub.bad_argument(2, "seek", "integer", offset)
    elseif core.position < 0 then
        oserror.raise("ESPIPE", nil, core.path)
    end
    local base = 0
    if whence == "cur" then
        base = logical(core)
    elseif whence == "end" then
        base = self:stat().size
    elseif whence ~= "set" then
        local text = "bad argument #1 to 'seek' ('set', 'cur' or 'end' expected, got '%s')"
        hub.misuse("ValueError", text:format(tostring(whence)))
    end
    if base + offset < 0 then
        oserror.raise("EINVAL", nil, core.path)
    end
    if base + offset ~= logical(core) then
        reader.clear(core)
        core.position = base + offset
    end
    return base + offset
end

-- Calls f(fd, ..., callback).
local function simple(self, core, what, f, ...)
    local ok, result = call(what, self, nil, nil, f, core.fd, ...)
    if not ok then
        oserror.raise(result, nil, core.path)
    end
    return result
end

--- What luv says of a file, with times in seconds.
function file.stat_table(stat)
    local function seconds(time)
        return time and time.sec + time.nsec * 1e-9
    end
    return {
        type = stat.type,
        size = stat.size,
        mode = stat.mode,
        uid = stat.uid,
        gid = stat.gid,
        ino = stat.ino,
        dev = stat.dev,
        nlink = stat.nlink,
        mtime = seconds(stat.mtime),
        atime = seconds(stat.atime),
        ctime = seconds(stat.ctime),
        birthtime = seconds(stat.birthtime),
    }
end

--- file:stat(): as moonlet.fs.stat.
function methods.stat(self)
    return file.stat_table(simple(self, check_usable(self, "stat"), "stat", uv.fs_fstat))
end

--- file:truncate([size]): cuts it off there; where it is, if there is no size.
function methods.truncate(self, size)
    local core = check_usable(self, "truncate")
    if size == nil then
        size = math.max(0, logical(core))
    elseif math.type(size) ~= "integer" or size < 0 then
        hub.bad_argument(1, "truncate", "size", size)
    end
    local position = logical(core)
    reader.clear(core)
    core.position = position
    simple(self, core, "truncate", uv.fs_ftruncate, size)
end

--- file:sync(): waits until what was written is on the disk.
function methods.sync(self)
    simple(self, check_usable(self, "sync"), "sync", uv.fs_fsync)
end

--- file:fileno(): the file descriptor.
function methods.fileno(self)
    return check_usable(self, "fileno").fd
end

--- file:close()
function methods.close(self)
    local core = check(self, "close")
    if core.closed then
        return
    end
    core.closed = true
    reader.clear(core)
    if request.gone then
        return
    end
    local ok, text = uv.fs_close(core.fd)
    if not ok then
        oserror.raise(text, nil, core.path)
    end
end

--- The path it was opened with.
function properties.path(self)
    return self.core.path
end

function File.__tostring(self)
    return "file " .. tostring(self.core.path)
end

return file
