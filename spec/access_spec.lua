-- Items and attributes by function, slices, membership, and None as a value of a table.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local eval, message = py.eval, support.message

--- The text of the error of py[name](...), called by that name.
local function misuse(name, ...)
    local call = load("local py = ... py." .. name .. "(select(2, ...))", "@access_spec.lua")
    return message(call, py, ...)
end

-- An object with both: an item and an attribute of the same name are not the same.
local namespace = support.python [[
    class Both:
        """Like a column of a table: attributes come first, and it is no mapping."""
        def __init__(self):
            self.items = {}
            self.name = "attribute"
        def __getitem__(self, key):
            return self.items[key]
        def __setitem__(self, key, value):
            self.items[key] = value
        def __delitem__(self, key):
            del self.items[key]
]]

describe("py.item, py.setitem and py.delitem", function()
    it("reach items that attributes hide", function()
        local o = namespace.Both()
        py.setitem(o, "name", "item")
        assert.equal("attribute", o.name)
        assert.equal("item", py.item(o, "name"))
        py.delitem(o, "name")
        assert.equal("{}", tostring(o.items))
        assert.equal("attribute", o.name)
    end)

    it("take any object and key", function()
        assert.equal("b", py.item("abc", 1))
        assert.equal("c", py.item("abc", -1))
        assert.equal(5, py.item({ x = 5 }, "x"))
        local d = py.builtins.dict()
        py.setitem(d, nil, nil)
        assert.equal("{None: None}", tostring(d))
        py.delitem(d, nil)
        assert.equal(0, #d)
    end)

    it("give one value, also of a tuple", function()
        local item = py.item(eval "{'t': (1, 2)}", "t")
        assert.equal("(1, 2)", tostring(item))
        assert.equal(0, select("#", py.setitem(eval "[1]", 0, 2)))
        assert.equal(0, select("#", py.delitem(eval "[1]", 0)))
    end)

    it("raise for what is missing", function()
        assert.equal("KeyError: 'x'", message(py.item, eval "{}", "x"))
        assert.equal("KeyError: 'x'", message(py.delitem, eval "{}", "x"))
        assert.equal("IndexError: list index out of range", message(py.item, eval "[]", 0))
        assert.equal(
            "TypeError: 'int' object is not subscriptable",
            message(py.item, 1, 1)
        )
        assert.equal(
            "TypeError: 'tuple' object doesn't support item deletion",
            message(py.delitem, eval "(1, 2)", 1)
        )
        assert.equal(
            "TypeError: 'str' object does not support item assignment",
            message(py.setitem, "abc", 1, "x")
        )
    end)

    it("need their arguments", function()
        assert.equal("bad argument #1 to 'item' (value expected)", misuse "item")
        assert.equal("bad argument #2 to 'item' (value expected)", misuse("item", 1))
        assert.equal("bad argument #3 to 'setitem' (value expected)", misuse("setitem", 1, 2))
        assert.equal("bad argument #2 to 'delitem' (value expected)", misuse("delitem", 1))
    end)
end)

describe("py.setattr and py.delattr", function()
    it("reach attributes that items hide", function()
        local d = support.python("class Dict(dict): pass").Dict()
        d.x = "item"
        py.setattr(d, "x", "attribute")
        assert.equal("item", d.x)
        assert.equal("attribute", py.attr(d, "x"))
        py.delattr(d, "x")
        assert.equal("item", d.x)
        assert.equal("AttributeError: 'Dict' object has no attribute 'x'", message(py.attr, d, "x"))
    end)

    it("raise what Python raises", function()
        assert.equal(
            "AttributeError: 'object' object has no attribute 'x'",
            message(py.setattr, eval "object()", "x", 1)
        )
        assert.equal(
            "AttributeError: 'Both' object has no attribute 'x'",
            message(py.delattr, namespace.Both(), "x")
        )
        assert.equal(
            "AttributeError: property 'y' of 'C' object has no setter",
            message(py.setattr, support.python("class C: y = property()").C(), "y", 1)
        )
    end)

    it("need a name", function()
        assert.equal(
            "bad argument #2 to 'setattr' (string expected, got nil)",
            misuse("setattr", eval "object()", nil, 1)
        )
        assert.equal(
            "bad argument #2 to 'delattr' (string expected, got no value)",
            misuse("delattr", eval "object()")
        )
        assert.equal("bad argument #3 to 'setattr' (value expected)", misuse("setattr", 1, "x"))
    end)
end)

describe("py.contains", function()
    it("is Python's `in`", function()
        assert.is_true(py.contains(eval "[1, 2]", 2))
        assert.is_false(py.contains(eval "[1, 2]", 3))
        assert.is_true(py.contains(eval "{'k': None}", "k"))
        assert.is_true(py.contains("text", "ex"))
        assert.is_true(py.contains(eval "[None]", nil))
        assert.is_true(py.contains(eval "range(5)", 4))
        assert.is_true(py.contains({ x = 1 }, "x"))
    end)

    it("raises what Python raises", function()
        assert.equal(
            "TypeError: argument of type 'int' is not iterable",
            message(py.contains, 1, 1)
        )
        assert.equal(
            "TypeError: unhashable type: 'list'",
            message(py.contains, eval "{}", eval "[]")
        )
        assert.equal("bad argument #2 to 'contains' (value expected)", misuse("contains", 1))
    end)
end)

describe("py.slice", function()
    local list

    before_each(function()
        list = eval "[0, 1, 2, 3, 4, 5]"
    end)

    it("selects items, as Python's start:stop:step", function()
        local function slice(...)
            return tostring(list[py.slice(...)])
        end
        assert.equal("[1, 2]", slice(1, 3))
        assert.equal("[0, 1]", slice(2))
        assert.equal("[2, 3, 4, 5]", slice(2, nil))
        assert.equal("[0, 1]", slice(nil, 2))
        assert.equal("[4, 5]", slice(-2, nil))
        assert.equal("[0, 2, 4]", slice(nil, nil, 2))
        assert.equal("[5, 4, 3, 2, 1, 0]", slice(nil, nil, -1))
        assert.equal("[]", slice(10, 20))
    end)

    it("replaces and deletes them", function()
        list[py.slice(1, 3)] = eval "['x']"
        assert.equal("[0, 'x', 3, 4, 5]", tostring(list))
        py.delitem(list, py.slice(nil, 2))
        assert.equal("[3, 4, 5]", tostring(list))
    end)

    it("works for tuples and bytes-like objects, of which it is one value", function()
        assert.equal("(1, 2)", tostring(eval "(0, 1, 2)"[py.slice(1, nil)]))
        assert.equal("bytearray(b'el')", tostring(eval "bytearray(b'hello')"[py.slice(1, 3)]))
        assert.equal("el", py.item("hello", py.slice(1, 3)))
    end)

    it("is Python's class", function()
        assert.is_true(py.isinstance(py.slice(1), py.slice))
        assert.is_nil(py.slice(1, nil).stop)
    end)

    it("raises what Python raises", function()
        assert.equal("TypeError: slice expected at least 1 argument, got 0", message(py.slice))
        assert.equal(
            "TypeError: slice expected at most 3 arguments, got 4",
            message(py.slice, 1, 2, 3, 4)
        )
        assert.equal("ValueError: slice step cannot be zero", message(function()
            return list[py.slice(nil, nil, 0)]
        end))
        assert.equal(
            "TypeError: slice indices must be integers or None or have an __index__ method",
            message(function()
                return list[py.slice "x"]
            end)
        )
        assert.equal("TypeError: can only assign an iterable", message(function()
            list[py.slice(1, 2)] = 5
        end))
    end)
end)

describe("py.none", function()
    it("is None for Python, where a table needs a value", function()
        assert.equal("(1, None, 3)", eval "lambda *a: repr(a)"(table.unpack { 1, py.none, 3 }))
        assert.equal("{'x': None}", tostring(py.builtins.dict(py.kw { x = py.none })))
        local d = py.builtins.dict()
        d[py.none] = py.none
        assert.equal("{None: None}", tostring(d))
    end)

    it("is nil when it comes back", function()
        assert.is_nil(eval "lambda x: x"(py.none))
        assert.is_nil(eval "lambda x: [x]"(py.none)[0])
        local call = eval "lambda f: f(None)"
        assert.is_nil(call(function(x)
            return x
        end))
    end)

    it("is always the same, true, and not nil", function()
        assert.is_true(rawequal(moonlet.python.none, py.none))
        assert.is_true(py.none and true)
        assert.is_false(py.none == nil)
        assert.equal("None", tostring(py.none))
        assert.equal("userdata", type(py.none))
    end)

    it("has no items and no attributes but those of None", function()
        assert.equal("NoneType", py.none.__class__.__name__)
        assert.equal("TypeError: 'NoneType' object is not subscriptable", message(function()
            return py.none[1]
        end))
        assert.equal("TypeError: 'NoneType' object is not callable", message(py.none))
    end)
end)

describe("memory does not grow", function()
    it("with items, attributes and slices", function()
        local list, both = eval "[1, 2, 3]", namespace.Both()
        support.stays_small(10000, function()
            py.setitem(list, py.slice(0, 1), list[py.slice(1, 2)])
            py.setitem(both, "x", {})
            py.item(both, "x")
            py.delitem(both, "x")
            py.setattr(both, "y", eval)
            py.delattr(both, "y")
            pcall(py.item, both, "missing")
            pcall(py.contains, both.items, list)
            py.contains(list, {})
        end)
    end)
end)
