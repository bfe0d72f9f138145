-- How the scheduler's objects are made: tables with a metatable that has methods, attributes that are
-- computed, and attributes that are checked when they are set.

local native = require "moonlet.native"

local class = {}

--- All classes by name: each a table with `methods`, `properties` and `setters`.
class.all = {}

--- A metatable for a class called `name`, which is what type errors and tostring call it. `methods` are
--- found by their names, `properties` by calling them with the object, `setters` are called with the
--- object and the value. All three keep what is added to them later. An object's own fields come first:
--- those that are read or set often should exist from the start (false, not nil), as what is missing
--- goes through here. `python` names the class of the module `moonlet` that its objects are of in
--- Python, a subclass of LuaTable.
function class.define(name, methods, properties, setters, python)
    local has_properties = properties ~= nil
    properties, setters = properties or {}, setters or {}
    local meta = { __name = name }

    if has_properties then
        function meta.__index(object, key)
            local method = methods[key]
            if method ~= nil then
                return method
            end
            local property = properties[key]
            return property and property(object)
        end
    else
        meta.__index = methods
    end

    function meta.__newindex(object, key, value)
        local setter = setters[key]
        if setter then
            setter(object, value)
        elseif methods[key] ~= nil or properties[key] then
            native.misuse("AttributeError", ("cannot set '%s' of a %s"):format(key, name))
        else
            rawset(object, key, value)
        end
    end

    if python then
        native.set_class(meta, native.python("moonlet", python))
    end
    class.all[name] = { methods = methods, properties = properties, setters = setters, meta = meta }
    return meta
end

return class
