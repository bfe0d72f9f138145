-- asyncio as a guest: its event loops wait in the hub. The other half is src/hub/_guest.py.
--
-- A guest is what an event loop is here: while the task that runs it waits for the loop's file
-- descriptor, `entry` is what it waits with.

local moonlet = require "moonlet"
local native = require "moonlet.native"
local hub = require "moonlet.hub"
local task = require "moonlet.task"

local aio = {}

local python -- the module moonlet._guest

local function load_python()
    python = python or moonlet.python.import "moonlet._guest"
    return python
end

-- ----------------------------------------------------------------------------------- guests

local methods = {}
local Guest = { __name = "event loop", __index = methods }

function Guest.__tostring(guest)
    return ("asyncio event loop %d"):format(guest.number)
end

local count = 0

--- A guest for a loop that waits with the descriptor `fd`.
function aio.guest(fd)
    count = count + 1
    return setmetatable({
        number = count,
        fd = fd,
        state = native.loop_state(),
        entry = false,
        poll = false, -- luv's handle
        polls = false, -- it is active
        shield = false, -- the cancelled scope whose cancel the loop has been told of
        outer = false,
    }, Guest)
end

--- Whether the code that calls runs where it can wait in the hub.
function aio.may_park()
    return hub.address ~= nil and native.may_wait() and native.id() ~= hub.address
end

function methods:leave()
    native.put_aside(self.state)
end

function methods:enter()
    native.take_back(self.state)
end

local function cancelled_scope(s)
    while s and not s.cancelled do
        s = s.parent
    end
    return s or false
end

--- The loop has been told of the cancel, which does not end its waits any more: it ends what it has begun.
function aio.shield(guest)
    guest.shield = cancelled_scope(hub.self().scope)
end

-- ---------------------------------------------------------------------------------- waiting

local function stop_poll(guest)
    if guest.polls then
        guest.polls = false
        hub.luv().poll_stop(guest.poll)
    end
end

local function wake(guest)
    local entry = guest.entry
    if entry then
        guest.entry = false
        hub.wake(entry)
    end
end

-- The handle stays active when the loop goes on: most often that waits again at once.
local function start_poll(guest)
    if guest.polls then
        return
    end
    local uv = hub.luv()
    guest.poll = guest.poll or assert(uv.new_poll(guest.fd))
    uv.poll_start(guest.poll, "r", function()
        if guest.entry then
            wake(guest)
        else
            stop_poll(guest)
        end
    end)
    guest.polls = true
end

--- Ends the wait of a loop, if it waits. For the thread of the Lua state.
aio.wake = wake

--- That function as a value, for moonlet.call_soon_threadsafe.
function aio.get_wake()
    return wake
end

local function forget(entry)
    entry.on.entry = false
end

--- Waits until the loop's descriptor can be read, until aio.wake, or for so many seconds (nil: for ever).
--- `quiet`: the descriptor is known to become readable by other threads only, which call aio.wake.
function aio.park(guest, seconds, quiet)
    local entry = {
        task = hub.self(),
        what = "select",
        on = guest,
        undo = forget,
        shielded = guest.shield and true or nil,
    }
    if quiet then
        stop_poll(guest)
    else
        start_poll(guest)
    end
    guest.entry = entry
    hub.wait(entry, seconds)
end

--- The current task begins to run the loop, and ends it.
function aio.begin(guest)
    local me = hub.self()
    if not me.scope.effective or cancelled_scope(me.scope) ~= guest.shield then
        guest.shield = false
    end
    guest.outer = hub.set_inside(guest)
end

function aio.finish(guest)
    stop_poll(guest)
    hub.set_inside(guest.outer)
    guest.outer = false
end

--- Lets others run.
function aio.pass(guest)
    local me = hub.self()
    if guest.shield and me.scope.effective then
        hub.wait({ task = me, what = "yield", shielded = true }, 0)
    else
        hub.yield(me)
    end
end

--- The loop is closed.
function aio.close(guest)
    stop_poll(guest)
    if guest.poll then
        hub.luv().close(guest.poll)
        guest.poll = false
        hub.flush_luv()
    end
end

--- The time that loops go by.
function aio.time()
    return hub.now() + hub.skipped
end

-- -------------------------------------------------------------------------- the default loop

-- The run that a task belongs to, or hub.root.
local function base_of(me)
    local s = me
    while s.parent and s.parent ~= hub.root do
        s = s.parent
    end
    return s.main and s or hub.root
end

local function running_servant(base)
    local servant = base.servant
    return servant and not servant.task.finished and servant or nil
end

--- The loop on which the current task awaits: one for each run, which ends after all other tasks of it; or
--- one for what is outside of runs, if that came first.
function aio.default_loop()
    local base = base_of(hub.self())
    local servant = running_servant(hub.root) or running_servant(base)
    if not servant then
        local loop = load_python().new_event_loop()
        local t = task.create(base, python.serve, loop)
        t.name, t.daemon = "asyncio", true
        rawset(t, "shielded", true) -- it is needed for what others do when they are cancelled
        t.effective = false
        servant = { task = t, loop = loop }
        function servant.stop()
            python.stop(loop)
        end
        base.servant = servant
    end
    return servant.loop
end

--- What awaits: an entry that aio.done ends.
function aio.waiter(future)
    return { task = hub.self(), what = "await", on = future }
end

function aio.wait(entry)
    hub.wait(entry)
end

--- The same where a cancel does not end it.
function aio.shielded_waiter(future)
    local entry = aio.waiter(future)
    entry.shielded = true
    return entry
end

aio.turn = hub.pass
aio.done = hub.wake
aio.outcome = task.outcome
aio.raise_in_main = hub.raise_in_main

-- -------------------------------------------------------------------------------- functions

--- moonlet.await(awaitable): waits until a coroutine, future or other awaitable of asyncio is done. Returns its
--- value or raises its exception. A cancel of the task cancels what it awaits, and waits for the end of that.
function aio.await(awaitable)
    if task.is_task(awaitable) then
        return awaitable:join()
    end
    if type(awaitable) ~= "userdata" then
        hub.bad_argument(1, "await", "coroutine, future or other awaitable", awaitable)
    end
    local problem = load_python().problem(awaitable)
    if problem then
        hub.misuse("TypeError", ("bad argument #1 to 'await' (%s)"):format(problem))
    end
    return python.await_(awaitable)
end

--- moonlet.new_event_loop(): an event loop of asyncio that waits in the hub when a task runs it.
function aio.new_event_loop()
    return load_python().new_event_loop()
end

return aio
