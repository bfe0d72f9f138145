-- Reading from what gives strings of any length, one after the other, with a buffer in between: streams
-- and files. Nothing is taken from the buffer before all that was asked for is there, so an error, a
-- timeout or a cancel loses nothing.
--
-- The state of a reader is a table `core`: strings chunks[first] to chunks[last], of which the first
-- begins at `pos`; `size` bytes in all; `ended`: no more will come; `failure`: because of this error;
-- `closed`; `reader`: the task that waits for more. Its fill(self, core, want, deadline) waits until
-- there are more bytes, at least `want` if that is possible, or the end.

local closable = require "moonlet.closable"
local hub = require "moonlet.hub"
local oserror = require "moonlet.oserror"

local reader = {}

local find, sub, concat = string.find, string.sub, table.concat
local pass = hub.pass

--- Adds the fields of an empty buffer.
function reader.init(core)
    core.chunks, core.first, core.last, core.pos, core.size = {}, 1, 0, 1, 0
    core.ended, core.failure, core.closed, core.reader = false, false, false, false
    return core
end

--- Throws the buffer away.
function reader.clear(core)
    core.chunks, core.first, core.last, core.pos, core.size = {}, 1, 0, 1, 0
end

--- Adds a string that is not empty.
function reader.push(core, chunk)
    local last = core.last + 1
    core.chunks[last] = chunk
    core.last = last
    core.size = core.size + #chunk
end

-- Takes some: the first chunk, or its first n bytes.
local function take_some(core, n)
    local chunks, first, pos = core.chunks, core.first, core.pos
    local chunk = chunks[first]
    local left = #chunk - pos + 1
    if n and n < left then
        core.pos = pos + n
        core.size = core.size - n
        return sub(chunk, pos, pos + n - 1)
    end
    chunks[first] = nil
    core.pos = 1
    core.size = core.size - left
    if first == core.last then
        core.first, core.last = 1, 0
    else
        core.first = first + 1
    end
    return pos == 1 and chunk or sub(chunk, pos)
end

-- Takes n bytes, which are there.
local function take(core, n)
    if n == 0 then
        return ""
    end
    local part = take_some(core, n)
    if #part == n then
        return part
    end
    local parts, count = { part }, 1
    n = n - #part
    while n > 0 do
        part = take_some(core, n)
        count = count + 1
        parts[count] = part
        n = n - #part
    end
    return concat(parts)
end

-- What all begin with: nobody else may be reading.
local function begin(self, core)
    if core.closed then
        error(oserror.closed(tostring(self)), 0)
    elseif core.reader then
        hub.misuse("RuntimeError", ("another task is reading from %s"):format(tostring(self)))
    end
end

-- Waits for more; false: there is no more. `deadline` as of hub.now().
local function fill(self, core, want, timeout, deadline)
    if core.ended then
        if core.failure then
            error(core.failure, 0)
        end
        return false
    end
    local left = timeout
    if deadline then
        left = deadline - hub.now()
        left = left > 0 and left or 0
    end
    if not core.fill(self, core, want, left) then
        oserror.timed_out("read from " .. tostring(self), timeout)
    end
    if core.closed then
        error(oserror.closed(tostring(self)), 0)
    end
    return true
end

--- Returns the functions of a class whose objects are made with `meta`, and have the state in their field `core`.
function reader.methods(meta)
    local methods = {}
    local check = closable.checker(meta)

    --- read([n [, timeout]]): some bytes, at most n; nil at the end.
    function methods.read(self, n, timeout)
        local core = check(self, "read")
        if n ~= nil then
            n = oserror.check_count(n, "read", 1)
        end
        if timeout ~= nil then
            hub.check_seconds(timeout, "read", 2)
        end
        if core.closed or core.reader then
            begin(self, core)
        end
        if core.size > 0 then
            pass()
        end
        while core.size == 0 do
            if not fill(self, core, 1, timeout) then
                return nil
            end
        end
        return take_some(core, n)
    end

    --- read_exactly(n [, timeout]): n bytes; nil at the end. EOFError if it comes before.
    function methods.read_exactly(self, n, timeout)
        local core = check(self, "read_exactly")
        n = oserror.check_count(n, "read_exactly", 1)
        if timeout ~= nil then
            hub.check_seconds(timeout, "read_exactly", 2)
        end
        begin(self, core)
        if core.size >= n then
            pass()
        end
        local deadline = timeout and core.size < n and hub.now() + timeout
        while core.size < n do
            if not fill(self, core, n, timeout, deadline) then
                if core.size == 0 then
                    return nil
                end
                oserror.ended(("%s has ended after %d of %d bytes"):format(tostring(self), core.size, n))
            end
        end
        return take(core, n)
    end

    -- The bytes up to and with the delimiter are so many; nil: it is not there before the end.
    local function search(self, core, delimiter, max, timeout)
        local length = #delimiter
        local index, pos = core.first, core.pos
        local before = 0 -- bytes in chunks that were searched
        local tail = "" -- the end of them, shorter than the delimiter
        local deadline
        while true do
            while index <= core.last do
                local chunk = core.chunks[index]
                local left = #chunk - pos + 1
                local stop
                if tail == "" then
                    local _, last = find(chunk, delimiter, pos, true)
                    stop = last and before + last - pos + 1
                else
                    local _, last = find(tail .. sub(chunk, pos), delimiter, 1, true)
                    stop = last and before - #tail + last
                end
                if max and (stop or before + left) - (stop and length or 0) > max then
                    if stop or before + left >= max + length then
                        local text = "no delimiter in the first %d bytes of %s"
                        oserror.bad_data(text:format(max, tostring(self)))
                    end
                end
                if stop then
                    return stop
                end
                before = before + left
                if length > 1 then
                    tail = sub(tail .. sub(chunk, math.max(pos, #chunk - length + 2)), 1 - length)
                end
                index, pos = index + 1, 1
            end
            if timeout and not deadline then
                deadline = hub.now() + timeout
            end
            local first = core.first
            if not fill(self, core, core.size + 1, timeout, deadline) then
                return nil
            end
            if core.first ~= first or core.size < before then -- somebody else has read meanwhile
                return search(self, core, delimiter, max, timeout)
            end
            if before == 0 then
                index, pos = core.first, core.pos
            end
        end
    end

    --- read_until(delimiter [, max [, timeout]]): what is before the delimiter, which is taken, too; nil at the
    --- end. EOFError if that comes before the delimiter, ValueError if that is not within `max` bytes.
    function methods.read_until(self, delimiter, max, timeout)
        local core = check(self, "read_until")
        oserror.check_string(delimiter, "read_until", 1)
        if delimiter == "" then
            hub.misuse("ValueError", "bad argument #1 to 'read_until' (delimiter expected, got an empty string)")
        end
        if max ~= nil then
            max = oserror.check_count(max, "read_until", 2)
        end
        oserror.check_timeout(timeout, "read_until", 3)
        begin(self, core)
        if core.size > 0 then
            pass()
        end
        local stop = search(self, core, delimiter, max, timeout)
        if stop then
            return sub(take(core, stop), 1, -1 - #delimiter)
        elseif core.size == 0 then
            return nil
        end
        oserror.ended(("%s has ended before the delimiter, after %d bytes"):format(tostring(self), core.size))
    end

    --- read_line([max [, timeout]]): the next line, without its end, "\n" or "\r\n"; nil at the end. The last
    --- one need not have an end.
    function methods.read_line(self, max, timeout)
        local core = check(self, "read_line")
        if max ~= nil then
            max = oserror.check_count(max, "read_line", 1)
        end
        if timeout ~= nil then
            hub.check_seconds(timeout, "read_line", 2)
        end
        begin(self, core)
        if core.size > 0 then
            pass()
        end
        local stop = search(self, core, "\n", max, timeout)
        if not stop then
            return core.size > 0 and take(core, core.size) or nil
        end
        local line = take(core, stop)
        return sub(line, 1, sub(line, -2, -2) == "\r" and -3 or -2)
    end

    --- lines(): for line in o:lines() do
    function methods.lines(self)
        check(self, "lines")
        return function()
            return self:read_line()
        end
    end

    --- read_all([max [, timeout]]): all up to the end, "" if there is nothing. ValueError: more than `max` bytes.
    function methods.read_all(self, max, timeout)
        local core = check(self, "read_all")
        if max ~= nil then
            max = oserror.check_count(max, "read_all", 1)
        end
        oserror.check_timeout(timeout, "read_all", 2)
        begin(self, core)
        local deadline = timeout and hub.now() + timeout
        while true do
            if max and core.size > max then
                oserror.bad_data(("more than %d bytes in %s"):format(max, tostring(self)))
            end
            if not fill(self, core, max and max + 1 or math.huge, timeout, deadline) then
                return take(core, core.size)
            end
        end
    end

    return methods
end

return reader
