-- Waiting until a file descriptor can be read or written: of sockets and pipes that others read and
-- write, as Python's. See src/hub/poll.c.

local hub = require "moonlet.hub"
local native = require "moonlet.native"
local moonlet = require "moonlet"
local oserror = require "moonlet.oserror"
local request = require "moonlet.request"
local waitlist = require "moonlet.waitlist"

local poll = {}

local uv, enter, leave = request.uv, request.enter, request.leave
local arm, wake, self = native.poller_arm, hub.wake, hub.self

local READ, WRITE = 1, 2

local poller, own_fd = native.new_poller()
local records = {} -- by descriptor: who waits for it
local taken = {}

-- Ends the waits in a list. The entries of one list go as one.
local function wake_all(list)
    local entry = list.first
    while entry do
        waitlist.remove(entry)
        leave()
        wake(entry)
        entry = list.first
    end
end

local function fail_all(list, err)
    local entry = list.first
    while entry do
        if not hub.fail(entry, err) then
            waitlist.remove(entry)
            leave()
        end
        entry = list.first
    end
end

local function closed_meanwhile(fd)
    return moonlet.Closed(("the file descriptor %d was closed"):format(fd))
end

-- Those who have waited for a file that is closed.
local function fail_record(fd, record)
    local err = closed_meanwhile(fd)
    fail_all(record.readers, err)
    fail_all(record.writers, err)
end

-- For who still waits.
local function rearm(fd, record)
    local wanted = (record.readers.first and READ or 0) | (record.writers.first and WRITE or 0)
    if arm(poller, fd, wanted, record.generation) ~= record.generation then
        native.poller_remove(poller, fd)
        records[fd] = nil
        fail_record(fd, record)
    end
end

local function on_events()
    for i = 1, 3 * native.poller_take(poller, taken), 3 do
        local fd, events = taken[i], taken[i + 2]
        local record = records[fd]
        if record and record.generation == taken[i + 1] then
            local readers, writers = record.readers, record.writers
            if events & READ ~= 0 then
                wake_all(readers)
            end
            if events & WRITE ~= 0 then
                wake_all(writers)
            end
            if readers.first or writers.first then
                rearm(fd, record)
            end
        end
    end
end

local handle = request.handle(uv.new_poll(own_fd))
assert(uv.poll_start(handle, "r", on_events))

local function give_up(entry)
    waitlist.remove(entry)
    leave()
end

-- A descriptor from what a caller gives for one.
local function descriptor(object, name)
    local fd = object
    if type(fd) == "userdata" and moonlet.python.builtins.hasattr(fd, "fileno") then
        fd = fd.fileno()
    end
    if math.type(fd) ~= "integer" then
        hub.bad_argument(1, name, "file descriptor or Python object with fileno()", object)
    elseif fd < 0 or fd > 0x7fffffff then
        hub.misuse("ValueError", ("bad argument #1 to '%s' (file descriptor expected, got %d)"):format(name, fd))
    end
    return fd
end

-- Waits by `wait`, hub.wait or its half.
local function wait_for(fd, what, events, timeout, wait)
    local record = records[fd]
    if not record then
        record = { generation = 0, readers = {}, writers = {} }
        records[fd] = record
    end
    local readers, writers = record.readers, record.writers
    local before = record.generation
    local wanted = events
    if readers.first then
        wanted = wanted | READ
    end
    if writers.first then
        wanted = wanted | WRITE
    end
    local generation = arm(poller, fd, wanted, before)
    if generation ~= before or generation == 0 then
        if readers.first or writers.first then -- they wait for a file that was closed
            fail_record(fd, record)
            generation = arm(poller, fd, events, generation > 0 and generation or 0)
        end
        if generation <= 0 then
            records[fd] = nil
            if generation == 0 then
                hub.pass()
                return wait == hub.wait or nil
            end
            error(oserror.of_number(-generation, ("%s of file descriptor %d"):format(what, fd)), 0)
        end
        record.generation = generation
    end
    local entry = { task = self(), what = what, on = fd, undo = give_up, list = false, before = false, after = false }
    waitlist.push(events == READ and readers or writers, entry)
    enter()
    return wait(entry, timeout)
end

-- The function called `name` of (fd [, timeout]) that waits for `events` by `wait`.
local function waiter(name, events, wait)
    return function(fd, timeout)
        if math.type(fd) ~= "integer" or fd < 0 or fd > 0x7fffffff then
            fd = descriptor(fd, name)
        end
        if timeout ~= nil then
            hub.check_seconds(timeout, name, 2)
        end
        return wait_for(fd, name, events, timeout, wait)
    end
end

--- moonlet.wait_readable(fd [, timeout]): waits until a file descriptor, or a Python object with fileno(), can
--- be read, or is at its end, or has an error. False: not within `timeout` seconds.
poll.wait_readable = waiter("wait_readable", READ, hub.wait)

--- moonlet.wait_writable(fd [, timeout]): the same until it can be written.
poll.wait_writable = waiter("wait_writable", WRITE, hub.wait)

--- The same in halves for Python, see hub.begin_sleep. The second one raises WouldBlock at the timeout.
poll.begin_readable = waiter("wait_readable", READ, hub.begin_half)
poll.begin_writable = waiter("wait_writable", WRITE, hub.begin_half)

function poll.end_half(thrown, refused)
    local target, entry = hub.end_half(thrown, refused)
    if not target and entry and entry.outcome == "timeout" then
        error(moonlet.WouldBlock "timed out", 0)
    end
    return target
end

--- moonlet.notify_closing(fd): to be called before a file descriptor is closed that tasks may wait for: they
--- get moonlet.Closed.
function poll.notify_closing(fd)
    fd = descriptor(fd, "notify_closing")
    local record = records[fd]
    if record then
        records[fd] = nil
        native.poller_remove(poller, fd)
        fail_record(fd, record)
    end
end

return poll
