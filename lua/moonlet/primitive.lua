-- How events, locks, semaphores and the like are made.

local class = require "moonlet.class"
local hub = require "moonlet.hub"
local waitlist = require "moonlet.waitlist"

local primitive = {}

local made = {} -- how many of each class

--- A class, and what makes its objects of the fields that they have, which get a list of `waiters` and a `number`.
function primitive.define(name, methods, properties, setters, python)
    local meta = class.define(name, methods, properties, setters, python)
    made[meta] = 0
    local function new(fields)
        made[meta] = made[meta] + 1
        fields.number = made[meta]
        fields.waiters = {}
        return setmetatable(fields, meta)
    end
    return meta, new
end

--- tostring of its objects: text(object) tells the state.
function primitive.describe(meta, text)
    function meta.__tostring(object)
        return ("%s %d: %s"):format(meta.__name, object.number, text(object))
    end
end

--- Wakes the first who waits in a list: returns his entry, or nil.
function primitive.wake_first(list)
    local entry = waitlist.pop(list)
    while entry and not hub.wake(entry) do
        entry = waitlist.pop(list)
    end
    return entry
end

--- Adds to a class that has methods.acquire what belongs to it: hold(), and <close>.
function primitive.add_hold(meta, methods)
    --- object:hold([timeout]): acquires it, for `local _ <close> = object:hold()`, which releases it.
    function methods.hold(object, timeout)
        methods.acquire(object, timeout)
        return object
    end

    function meta.__close(object)
        methods.release(object)
    end
end

return primitive
