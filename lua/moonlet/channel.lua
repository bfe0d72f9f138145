-- Channels: values go from one task to another, first come, first served on both sides.
--
-- A value goes straight to a receiver that waits, or into the buffer if there is room, else its sender
-- waits with it. So there are never waiting receivers and values at the same time, nor waiting senders
-- and room. An entry of a waiting task has the `value`, and is `closed` if the channel was meanwhile.

local class = require "moonlet.class"
local hub = require "moonlet.hub"
local waiting = require "moonlet.waiting"
local waitlist = require "moonlet.waitlist"

local channel = {}

local methods = {}
local Channel = class.define("channel", methods, nil, nil, "Channel")

local self, wait, wake, pass = hub.self, hub.wait, hub.wake, hub.pass
local remove = waitlist.remove
local count_made = 0

--- moonlet.channel([capacity]): a new channel that holds so many values that were sent and not yet
--- received: 0, the default, makes the sender wait for the receiver; math.huge: as many as there are.
function channel.channel(capacity)
    capacity = capacity or 0
    if capacity ~= math.huge and math.type(capacity) ~= "integer" then
        hub.bad_argument(1, "channel", "integer or math.huge", capacity)
    elseif capacity < 0 then
        hub.misuse("ValueError", ("bad argument #1 to 'channel' (0 or more expected, got %d)"):format(capacity))
    end
    count_made = count_made + 1
    return setmetatable({
        number = count_made,
        capacity = capacity,
        closed = false,
        count = 0, -- of the values in the buffer, items[head] to items[tail]
        head = 1,
        tail = 0,
        items = {},
        senders = { first = nil, last = nil },
        receivers = { first = nil, last = nil },
        served = 0, -- for select
        served_send = 0,
    }, Channel)
end

-- Takes the first entry out of a list.
local function drop_first(list, entry)
    local after = entry.after
    list.first = after
    if after then
        after.before, entry.after = nil, nil
    else
        list.last = nil
    end
    entry.list = nil
end

local spare -- an entry of a wait that is over, for the next one

-- Makes an entry. Garbage may be collected here, whose finalizers may use the channel: so this comes before
-- it is decided that it has to wait.
local function new_entry()
    local entry = { task = false, what = false, on = false, undo = remove, value = nil, list = nil, before = nil }
    return entry
end

-- Adds an entry at the end of a list.
local function enter(ch, entry, task, list, what, value)
    local last = list.last
    spare = nil
    entry.task, entry.what, entry.on, entry.value = task, what, ch, value
    entry.list, entry.before, entry.outcome = list, last, nil
    if last then
        last.after = entry
    else
        list.first = entry
    end
    list.last = entry
end

-- ------------------------------------------------------------------------------------ sending

-- Puts a value where it belongs, if that is possible now.
local function give(ch, value)
    local receivers = ch.receivers
    local entry = receivers.first
    while entry do
        drop_first(receivers, entry)
        entry.value = value
        if wake(entry) then
            return true
        end
        entry = receivers.first
    end
    local count = ch.count
    if count < ch.capacity then
        local tail = ch.tail + 1
        ch.items[tail] = value
        ch.tail, ch.count = tail, count + 1
        return true
    end
    return false
end

--- ch:send(value [, timeout]): gives the value to who waits for one, or to the buffer; waits if there is
--- neither. Raises Closed if the channel is closed, also while it waits, and TimeoutError.
local function send(ch, value, timeout)
    local receivers = type(ch) == "table" and ch.receivers
    if not receivers then
        waiting.check(ch, Channel, "send")
    elseif timeout then
        timeout = waiting.timeout(timeout, "send", 2)
    end
    if receivers.first then
        pass()
        local entry = receivers.first
        while entry do
            drop_first(receivers, entry)
            entry.value = value
            if wake(entry) then
                return
            end
            entry = receivers.first
        end
    elseif ch.count < ch.capacity then
        pass()
    end
    local me = self()
    local entry = not hub.trace and spare or new_entry()
    if ch.closed then
        waiting.closed(ch)
    elseif give(ch, value) then
        return
    elseif timeout == 0 then
        pass()
        waiting.time_out("nothing could be sent within %g seconds", timeout)
    end
    enter(ch, entry, me, ch.senders, "send", value)
    if not wait(entry, timeout) then
        waiting.time_out("nothing could be sent within %g seconds", timeout)
    elseif entry.closed then
        waiting.closed(ch)
    elseif not timeout then
        entry.value = nil
        spare = entry
    end
end
methods.send = send

--- ch:try_send(value): the same if it need not wait; false if it would have to.
function methods.try_send(ch, value)
    waiting.check(ch, Channel, "try_send")
    if ch.closed then
        waiting.closed(ch)
    end
    return give(ch, value)
end

-- ---------------------------------------------------------------------------------- receiving

-- Takes a value from the buffer or from who waits to send one: true and the value, or false.
local function take(ch)
    local count = ch.count
    local senders = ch.senders
    if count > 0 then
        local items, head = ch.items, ch.head
        local value = items[head]
        items[head] = nil
        ch.head = head + 1
        count = count - 1
        ch.count = count
        local entry = senders.first
        while entry do
            drop_first(senders, entry)
            if wake(entry) then
                local tail = ch.tail + 1
                items[tail] = entry.value
                ch.tail, ch.count = tail, count + 1
                return true, value
            end
            entry = senders.first
        end
        if count == 0 then
            ch.head, ch.tail = 1, 0
        end
        return true, value
    end
    local entry = senders.first
    while entry do
        drop_first(senders, entry)
        if wake(entry) then
            return true, entry.value
        end
        entry = senders.first
    end
    return false
end

local function receive(ch, timeout)
    local senders = type(ch) == "table" and ch.senders
    if not senders then
        waiting.check(ch, Channel, "receive")
    elseif timeout then
        timeout = waiting.timeout(timeout, "receive", 1)
    end
    if ch.count > 0 or senders.first then
        pass()
        local entry = ch.count == 0 and senders.first
        while entry do
            drop_first(senders, entry)
            if wake(entry) then
                return entry.value
            end
            entry = senders.first
        end
        local ok, value = take(ch)
        if ok then
            return value
        end
    end
    local me = self()
    local entry = not hub.trace and spare or new_entry()
    if ch.count > 0 or senders.first then
        local ok, value = take(ch)
        if ok then
            return value
        end
    end
    if ch.closed then
        waiting.closed(ch)
    elseif timeout == 0 then
        pass()
        waiting.time_out("nothing was received within %g seconds", timeout)
    end
    enter(ch, entry, me, ch.receivers, "receive")
    if not wait(entry, timeout) then
        waiting.time_out("nothing was received within %g seconds", timeout)
    elseif entry.closed then
        waiting.closed(ch)
    end
    local value = entry.value
    if not timeout then
        entry.value = nil
        spare = entry
    end
    return value
end

--- ch:receive([timeout]): waits for a value, and returns it. Raises Closed when the channel is closed and
--- there is none left, and TimeoutError.
methods.receive = waiting.facing(receive)

--- ch:try_receive(): true and a value if there is one, else false. Raises Closed as receive does.
local function try_receive(ch)
    waiting.check(ch, Channel, "try_receive")
    local ok, value = take(ch)
    if ok then
        return true, value
    elseif ch.closed then
        waiting.closed(ch)
    end
    return false
end
methods.try_receive = waiting.facing_try(try_receive)

-- For `for v in ch do`: the next value; nil at the end.
Channel.__call = waiting.next_by(receive)

-- ------------------------------------------------------------------------------------- the end

--- ch:close(): no more values: senders get Closed, also those that wait; receivers, too, when they have taken
--- what is left. False: it was closed before.
function methods.close(ch)
    waiting.check(ch, Channel, "close")
    if ch.closed then
        return false
    end
    ch.closed = true
    waiting.wake_all(ch.receivers, "closed", true)
    waiting.wake_all(ch.senders, "closed", true)
    return true
end

Channel.__close = methods.close

function Channel.__len(ch)
    return ch.count
end

function Channel.__tostring(ch)
    local state = ch.closed and ", closed" or ""
    return ("channel %d: %d of %s values%s"):format(ch.number, ch.count, ch.capacity, state)
end

-- What else a channel has: fields, which are there from the start.
class.all.channel.properties = { capacity = true, closed = true }

-- -------------------------------------------------------------------------------------- select

local receiving = waiting.taking("receive", "served", "receivers", take)

function receiving.ready(ch)
    return ch.count > 0 or ch.closed or waiting.first(ch.senders) ~= nil
end

local sending = waiting.giving("send", "served_send", "senders", give)

function sending.ready(ch)
    return ch.closed or ch.count < ch.capacity or waiting.first(ch.receivers) ~= nil
end

waiting.kinds[Channel] = receiving

--- ch:on_receive(): for select: receives a value. The channel itself does so, too.
function methods.on_receive(ch)
    waiting.check(ch, Channel, "on_receive")
    return waiting.case(receiving, ch)
end

--- ch:on_send(value): for select: sends a value.
function methods.on_send(ch, value)
    waiting.check(ch, Channel, "on_send")
    return waiting.case(sending, ch, value)
end

channel.methods = methods

return channel
