-- luv's loop: loaded when it is first needed, and run by the hub alone.

local native = require "moonlet.native"
local errors = require "moonlet.errors"

local loop = {}

local uv, run_uv
local looking -- a handle that has a reference while the loop runs

--- luv, opened as the scheduler needs it.
function loop.luv()
    if not uv then
        local ok, result = native.pcall(native.open_luv, function(err)
            errors.report("error in a callback of luv", err)
        end)
        if not ok then
            error("moonlet: luv is needed for this (Debian: lua-luv; LuaRocks: luv): " .. tostring(result), 0)
        end
        uv = package.loaded.luv
        run_uv = uv.run
        uv.update_time()
        looking = uv.new_async(function() end)
        uv.unref(looking)
    end
    return uv
end

--- Lets luv end what was closed. It crashes if the Lua state is closed before (luv_handle_gc frees what the loop
--- still has).
function loop.flush()
    if uv and native.may_wait() then
        native.run_luv(run_uv)
    end
end

--- Runs luv's loop, if luv was loaded, without waiting. It would do nothing at all if no handle had a
--- reference, and what it has not taken makes its descriptor readable again and again.
function loop.run()
    if not uv and not (package.loaded.luv and loop.luv()) then
        return
    end
    uv.ref(looking)
    native.run_luv(run_uv)
    uv.unref(looking)
end

--- Its file descriptor, which can be read when the loop has something to do; -1: there is none, or luv was not
--- loaded.
function loop.fd()
    local fd = uv and uv.backend_fd()
    return type(fd) == "number" and fd or -1
end

--- Whether something may yet happen in it.
function loop.alive()
    return uv ~= nil and uv.loop_alive()
end

--- In how many seconds it has something to do by itself; nil: no such time.
function loop.timeout()
    if loop.alive() then -- else libuv says 0
        local ms = uv.backend_timeout()
        return ms >= 0 and ms / 1000 or nil
    end
end

return loop
