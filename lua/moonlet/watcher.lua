-- Watchers of files and directories.

local closable = require "moonlet.closable"
local oserror = require "moonlet.oserror"
local request = require "moonlet.request"

local watcher = {}

local uv = request.uv

local methods, properties = {}, {}
local Watcher, check = closable.define("watcher", methods, properties)

--- Watches a path. Raises OSError.
function watcher.new(path)
    local handle = request.handle(uv.new_fs_event())
    local core = { handle = handle, path = path, inbox = request.inbox(math.huge), closed = false }
    local inbox = core.inbox
    local ok, text = uv.fs_event_start(handle, path, {}, function(err, name, events)
        if err then
            inbox:put { failure = oserror.new(err, nil, path) }
        else
            inbox:put { name = name or "", renamed = events.rename }
        end
    end)
    if not ok then
        request.close(handle)
        oserror.raise(text, nil, path)
    end
    return setmetatable({ core = core }, Watcher)
end

--- watcher:wait([timeout]): waits for the next change. Returns the name of the file, and "change", or "rename" if it
--- has come or gone. TimeoutError: none within `timeout` seconds; Closed.
function methods.wait(self, timeout)
    local core = check(self, "wait")
    oserror.check_timeout(timeout, "wait", 1)
    local item = core.inbox:take("watch", self, timeout)
    if not item then
        oserror.timed_out("watch " .. core.path, timeout)
    elseif item.failure then
        error(item.failure, 0)
    end
    return item.name, item.renamed and "rename" or "change"
end

--- watcher:close(): who waits gets Closed.
function methods.close(self)
    local core = check(self, "close")
    if not core.closed then
        core.closed = true
        core.inbox:close(oserror.closed(tostring(self)))
        request.close(core.handle)
    end
end

function Watcher.__tostring(self)
    return "watcher of " .. self.core.path
end

return watcher
