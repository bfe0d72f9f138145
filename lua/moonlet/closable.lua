-- What the objects of I/O have in common: their state is a table `core`, with a field `closed`, and finalizers
-- and callbacks have that without the object.

local class = require "moonlet.class"
local hub = require "moonlet.hub"
local oserror = require "moonlet.oserror"
local request = require "moonlet.request"

local closable = {}

--- check(self, method): the core of an object, which must have this metatable; for a method of that name.
function closable.checker(meta)
    local expected = meta.__name
    return function(self, method)
        if getmetatable(self) ~= meta then
            hub.bad_argument(1, method, expected, self)
        end
        return self.core
    end
end

local function close_handle(core)
    request.dispose(core.handle)
end

--- A class of objects that methods.close closes, and the end of a <close> variable, too. `release(core)` gives back
--- what an object that is garbage has; by default its handle of luv. Returns the metatable, the checker, and one
--- that also raises Closed.
function closable.define(name, methods, properties, release)
    local meta = class.define(name, methods, properties)
    release = release or close_handle

    --- Whether it was closed.
    function properties.closed(self)
        return self.core.closed
    end

    function meta.__close(self)
        methods.close(self)
    end

    function meta.__gc(self)
        local core = self.core
        if not core.closed then
            core.closed = true
            release(core)
        end
    end

    local function check_open(self, method)
        if getmetatable(self) ~= meta then
            hub.bad_argument(1, method, name, self)
        end
        local core = self.core
        if core.closed then
            error(oserror.closed(tostring(self)), 0)
        end
        return core
    end

    return meta, closable.checker(meta), check_open
end

--- Lets `for x in object do` give what `method` returns, until the object is closed.
function closable.iterate(meta, method)
    function meta.__call(self)
        if self.core.closed then
            return nil
        end
        local ok, result = pcall(method, self)
        if ok then
            return result
        elseif self.core.closed then
            return nil
        end
        error(result, 0)
    end
end

return closable
