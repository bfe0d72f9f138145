-- Memory that both languages see: Python buffers in Lua, Lua strings as Python buffers.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local eval, message = py.eval, support.message
local bytearray = eval "lambda text: bytearray(text, 'latin-1')"
local numpy = py.import "numpy"

--- The value of a Python expression with array, ctypes and numpy at hand.
local function make(expression)
    local names = support.python "import array, ctypes, numpy"
    return eval(expression, names)
end

--- A buffer of these values in that format, as Python's struct packs them.
local function packed(format, ...)
    local names = support.python [[
        from _testbuffer import ndarray, ND_WRITABLE
        def make(format, *values):
            return ndarray(list(values), shape=[len(values)], format=format, flags=ND_WRITABLE)
    ]]
    return py.buffer(names.make(format, ...))
end

--- What is wrong with f(b) for a new buffer of some bytes, or of an expression.
local function fails(f, expression)
    return message(f, py.buffer(expression and make(expression) or bytearray "hello"))
end

-- stylua: ignore
local function get(i) return function(b) return b[i] end end
-- stylua: ignore
local function set(i, value) return function(b) b[i] = value end end

describe("py.buffer", function()
    it("reads and writes the memory of an object, from index 0 on", function()
        local object = bytearray "hello"
        local b = py.buffer(object)
        assert.equal(104, b[0])
        assert.equal(111, b[4])
        b[0] = 72
        assert.equal("bytearray(b'Hello')", tostring(object))
        object[1] = 69
        assert.equal(69, b[1])
    end)

    it("counts from the end with negative indices", function()
        local b = py.buffer(bytearray "hello")
        assert.equal(111, b[-1])
        assert.equal(104, b[-5])
        b[-1] = 79
        assert.equal(79, b[4])
        assert.equal(104, b[-5.0])
    end)

    it("has a length, and is iterated from 0", function()
        local b = py.buffer(bytearray "abc")
        assert.equal(3, #b)
        local seen = {}
        for i, v in pairs(b) do
            seen[#seen + 1] = i .. "=" .. v
        end
        assert.same({ "0=97", "1=98", "2=99" }, seen)
        for _ in pairs(py.buffer(bytearray "")) do
            error "not reached"
        end
    end)

    it("knows its shape, its format and its object", function()
        local object = make "array.array('i', [1, 2, 3])"
        local b = py.buffer(object)
        assert.same({ 3 }, b.shape)
        assert.same({ 4 }, b.strides)
        assert.same({ 1, 4, 12, "i", false }, { b.ndim, b.itemsize, b.nbytes, b.format, b.readonly })
        assert.is_true(rawequal(object, b.object))
        assert.is_true(py.buffer(py.bytes "x").readonly)
        assert.equal("x", py.buffer(py.bytes "x").object)
        assert.matches("^buffer: ", tostring(b))
    end)

    it("takes whatever has the buffer protocol", function()
        local names = support.python [[
            import array, ctypes, numpy, mmap
            class Point(ctypes.Structure):
                _fields_ = [("x", ctypes.c_int)]
            objects = [bytearray(b"\1\2"), memoryview(b"\1\2"),
                array.array("H", [1, 2]), (ctypes.c_int * 2)(1, 2), (ctypes.c_double * 2)(1, 2),
                numpy.array([1, 2]), numpy.array([1, 2], ">i2"), numpy.array([1.0, 2.0], "f2")]
        ]]
        for i = 0, #names.objects - 1 do
            local b = py.buffer(py.item(names.objects, i))
            assert.same({ 1, 2 }, { b[0], b[1] })
        end
        local map = eval "__import__('mmap').mmap(-1, 4096)"
        local b = py.buffer(map)
        b[4095] = 7
        assert.equal(7, py.buffer(map)[4095])
    end)

    it("raises what Python raises for anything else", function()
        local text = "TypeError: a bytes-like object is required, not '%s'"
        assert.equal(text:format "list", message(py.buffer, eval "[]"))
        assert.equal(text:format "str", message(py.buffer, "text"))
        assert.equal(text:format "int", message(py.buffer, 5))
        assert.equal(text:format "NoneType", message(py.buffer, nil))
        assert.equal(text:format "moonlet.LuaTable", message(py.buffer, {}))
        local view = eval "memoryview(b'x')"
        view:release()
        assert.equal(
            "ValueError: operation forbidden on released memoryview object",
            message(py.buffer, view)
        )
        local function buffer()
            py.buffer()
        end
        assert.equal("bad argument #1 to 'buffer' (value expected)", message(buffer))
    end)

    it("refuses memory that is reached through pointers", function()
        local names = support.python [[
            from _testbuffer import ndarray, ND_PIL
            indirect = ndarray(list(range(6)), shape=[2, 3], format="B", flags=ND_PIL)
        ]]
        assert.matches("^BufferError: ", message(py.buffer, names.indirect))
    end)
end)

describe("an index of a buffer", function()
    it("has to be in range", function()
        local text = "buffer index %d is out of range (length 5)"
        for _, i in ipairs { 5, -6, math.maxinteger, math.mininteger } do
            assert.equal(text:format(i), fails(get(i)))
            assert.equal(text:format(i), fails(set(i, 0)))
        end
        assert.equal("buffer index 0 is out of range (length 0)", fails(get(0), "bytearray()"))
    end)

    it("has to be an integer or a slice", function()
        local text = "buffer index must be an integer, not "
        assert.equal(text .. "1.5", fails(get(1.5)))
        assert.equal(text .. "nan", (fails(get(0 / 0)):gsub("-nan", "nan")))
        text = "buffer index must be an integer or a slice, not "
        assert.equal(text .. "boolean", fails(get(true)))
        assert.equal(text .. "table", fails(set({}, 1)))
        assert.equal(text .. "list", fails(get(eval "[]")))
        assert.equal("a buffer has no field '1'", fails(get "1"))
        assert.equal("a buffer has no field 'nothing'", fails(get "nothing"))
        assert.equal("the fields of a buffer cannot be set", fails(set("format", "B")))
    end)
end)

describe("elements of the format", function()
    --- The range of an integer format; what is beside it is an error.
    local function range(format, least, most, below, above)
        it(format .. " are integers from " .. tostring(least) .. " to " .. tostring(most), function()
            local b = packed(format, least, most, 0)
            assert.is_true(b[0] == least, tostring(b[0]))
            assert.is_true(b[1] == most, tostring(b[1]))
            b[2] = least
            assert.is_true(b[2] == least)
            b[2] = most
            assert.is_true(b[2] == most)
            local text = "%s is out of range for format '%s' (%s to %s)"
            local code = format:sub(-1)
            for _, value in ipairs { below, above } do
                assert.equal(
                    text:format(value, code, tostring(least), tostring(most)),
                    message(set(2, value), b)
                )
                assert.is_true(b[2] == most)
            end
        end)
    end

    local big = eval "2**63"
    local below = eval "-2**63 - 1"
    local unsigned_max = eval "2**64 - 1"
    for _, order in ipairs { "", "@", "=", "<", ">", "!" } do
        range(order .. "b", -128, 127, -129, 128)
        range(order .. "B", 0, 255, -1, 256)
        range(order .. "h", -32768, 32767, -32769, 32768)
        range(order .. "H", 0, 65535, -1, 65536)
        range(order .. "i", -(1 << 31), (1 << 31) - 1, -(1 << 31) - 1, 1 << 31)
        range(order .. "I", 0, (1 << 32) - 1, -1, 1 << 32)
        range(order .. "q", math.mininteger, math.maxinteger, below, big)
        range(order .. "Q", 0, unsigned_max, -1, unsigned_max + 1)
        local native = order == "" or order == "@"
        if native then
            range(order .. "l", math.mininteger, math.maxinteger, below, big)
            range(order .. "L", 0, unsigned_max, math.mininteger, unsigned_max + 1)
            range(order .. "n", math.mininteger, math.maxinteger, below, big)
            range(order .. "N", 0, unsigned_max, -1, unsigned_max + 1)
            range(order .. "P", 0, unsigned_max, -1, unsigned_max + 1)
        else
            range(order .. "l", -(1 << 31), (1 << 31) - 1, -(1 << 31) - 1, 1 << 31)
            range(order .. "L", 0, (1 << 32) - 1, -1, 1 << 32)
        end
    end

    it("of integers take floats with such a value, and Python objects with one", function()
        local b = packed("Q", 0)
        b[0] = 3.0
        assert.equal(3, b[0])
        b[0] = 2.0 ^ 63
        assert.is_true(b[0] == big)
        b[0] = numpy.int16(5)
        assert.equal(5, b[0])
        b[0] = eval "__import__('enum').IntEnum('E', 'ONE')(1)"
        assert.equal(1, b[0])
        assert.equal("number has no integer representation", message(set(0, 0.5), b))
        assert.equal("number has no integer representation", message(set(0, 0 / 0), b))
        assert.equal(
            "1.844674407371e+19 is out of range for format 'Q' (0 to 18446744073709551615)",
            message(set(0, 2.0 ^ 64), b)
        )
        assert.matches("^inf is out of range", message(set(0, math.huge), b))
    end)

    it("of integers take nothing else", function()
        local text = "integer expected for format 'B', got "
        assert.equal(text .. "string", fails(set(0, "1")))
        assert.equal(text .. "nil", fails(set(0, nil)))
        assert.equal(text .. "table", fails(set(0, {})))
        assert.equal(
            "TypeError: 'Real' object cannot be interpreted as an integer",
            fails(set(0, eval "type('Real', (float,), {})(1.5)"))
        )
        assert.equal(
            "TypeError: 'object' object cannot be interpreted as an integer",
            fails(set(0, eval "object()"))
        )
    end)

    it("? are booleans", function()
        for _, order in ipairs { "", "<", ">" } do
            local b = packed(order .. "?", true, false)
            assert.same({ true, false }, { b[0], b[1] })
            b[0], b[1] = false, true
            assert.same({ false, true }, { b[0], b[1] })
            assert.equal("boolean expected for format '?', got number", message(set(0, 1), b))
            assert.equal("boolean expected for format '?', got nil", message(set(0, nil), b))
        end
    end)

    it("f, d and e are floats", function()
        for _, order in ipairs { "", "=", "<", ">" } do
            for _, code in ipairs { "f", "d", "e" } do
                local b = packed(order .. code, 1.5, -0.25, 0)
                assert.same({ 1.5, -0.25 }, { b[0], b[1] })
                b[2] = 3
                assert.equal("3.0", tostring(b[2]))
                b[2] = -math.huge
                assert.equal(-math.huge, b[2])
                b[2] = 0 / 0
                assert.is_true(b[2] ~= b[2])
                b[2] = eval "__import__('fractions').Fraction(1, 2)"
                assert.equal(0.5, b[2])
                assert.equal(
                    "number expected for format '" .. code .. "', got string",
                    message(set(2, "1"), b)
                )
                assert.equal(
                    "TypeError: must be real number, not object",
                    message(set(2, eval "object()"), b)
                )
            end
        end
        local b = packed("d", 0.0)
        b[0] = 0.1
        assert.equal(0.1, b[0])
        assert.equal(
            "1e+39 is out of range for format 'f' (finite numbers)",
            message(set(0, 1e39), packed("f", 0.0))
        )
        assert.equal(
            "65520.0 is out of range for format 'e' (finite numbers)",
            message(set(0, 65520.0), packed("e", 0.0))
        )
    end)

    it("c are strings of one byte", function()
        local b = py.buffer(make "(ctypes.c_char * 3)(b'a', b'b', b'\\xff')")
        assert.same({ "a", "b", "\xff" }, { b[0], b[1], b[2] })
        b[0] = "\0"
        assert.equal("\0b\xff", b:string())
        local text = "string of one byte expected for format 'c', got one of "
        assert.equal(text .. "2", message(set(0, "xy"), b))
        assert.equal(text .. "0", message(set(0, ""), b))
        assert.equal("string expected for format 'c', got number", message(set(0, 1), b))
    end)

    it("s with a count are strings of so many bytes", function()
        local b = py.buffer(make "numpy.array([b'abc', b'x'])")
        assert.equal("3s", b.format)
        assert.same({ "abc", "x\0\0" }, { b[0], b[1] })
        b[0] = "de"
        assert.equal("de\0", b[0])
        assert.equal(
            "string of at most 3 bytes expected for format '3s', got one of 4",
            message(set(0, "long"), b)
        )
        assert.equal("string expected for format 's', got boolean", message(set(0, true), b))
    end)

    it("that Lua has no value for can be copied as strings", function()
        for _, expression in ipairs {
            "numpy.array([1j])", "numpy.array([(1, 2.5)], 'i,f')", "numpy.array(['text'])",
            "array.array('u', 'x')", "numpy.array([1], 'g')",
            "(ctypes.POINTER(ctypes.c_int) * 1)()",
        } do
            local object = make(expression)
            local b = py.buffer(object)
            local text = "elements of format '" .. b.format .. "' can be copied as strings only"
            assert.equal(text, message(get(0), b))
            assert.equal(text, message(set(0, 1), b))
            assert.equal(text, message(b.get, b, 0))
            assert.equal(py.builtins.bytes(py.builtins.memoryview(object)), b:string())
            assert.equal(b.itemsize, #b:string())
            b:write(("\1"):rep(b.itemsize))
            assert.equal(("\1"):rep(b.itemsize), b:string())
        end
    end)
end)

describe("a read-only buffer", function()
    it("cannot be written", function()
        local b = py.buffer(py.bytes "hello")
        assert.is_true(b.readonly)
        assert.equal(104, b[0])
        local text = "the buffer is read-only"
        assert.equal(text, message(set(0, 1), b))
        assert.equal(text, message(set(py.slice(0, 1), "x"), b))
        assert.equal(text, message(b.set, b, 0, 1))
        assert.equal(text, message(b.write, b, "x"))
        local array = make "numpy.zeros((2, 2))"
        array:setflags(py.kw { write = false })
        assert.equal(text, message(set(0, (" "):rep(16)), py.buffer(array)))
        assert.equal("hello", b:string())
    end)
end)

describe("a slice of a buffer", function()
    local b

    before_each(function()
        b = py.buffer(bytearray "0123456789")
    end)

    it("is a view without a copy", function()
        local part = b[py.slice(2, 5)]
        assert.equal(3, #part)
        assert.equal("234", part:string())
        part[0] = 65
        assert.equal("01A3456789", b:string())
        assert.equal(53, b[py.slice(2, nil)][py.slice(1, nil)][2])
    end)

    it("has steps, also negative ones", function()
        assert.equal("02468", b[py.slice(nil, nil, 2)]:string())
        assert.equal("9876543210", b[py.slice(nil, nil, -1)]:string())
        assert.equal("97531", b[py.slice(nil, nil, -2)]:string())
        assert.equal("86", b[py.slice(-2, 4, -2)]:string())
        assert.equal("159", b[py.slice(nil, nil, -2)][py.slice(nil, nil, -2)]:string())
        local back = b[py.slice(nil, nil, -1)]
        back[0] = 65
        assert.same({ 65, -1 }, { b[9], back.strides[1] })
    end)

    it("is clamped and may be empty, as Python's", function()
        assert.equal("", b[py.slice(5, 2)]:string())
        assert.equal("789", b[py.slice(7, 100)]:string())
        assert.equal("01", b[py.slice(-100, 2)]:string())
        assert.equal(0, #b[py.slice(10, nil)])
        assert.equal(0, #b[py.slice(100, nil, -1)][py.slice(0, 0)])
        assert.equal("buffer index 0 is out of range (length 0)", message(get(0), b[py.slice(3, 3)]))
    end)

    it("is filled with a string of its size", function()
        b[py.slice(0, 3)] = "abc"
        b[py.slice(nil, nil, -3)] = "zyxw"
        assert.equal("wbcx45y78z", b:string())
        b[py.slice(4, 4)] = ""
        local text = "string of 3 bytes expected, got one of "
        assert.equal(text .. "2", message(set(py.slice(0, 3), "ab"), b))
        assert.equal(text .. "4", message(set(py.slice(0, 3), "abcd"), b))
        assert.equal(
            "string expected for a part of a buffer, got number",
            message(set(py.slice(0, 3), 5), b)
        )
        assert.equal(
            "string expected for a part of a buffer, got nil",
            message(set(py.slice(0, 3), nil), b)
        )
    end)

    it("raises what Python raises", function()
        assert.equal("ValueError: slice step cannot be zero", message(get(py.slice(0, 1, 0)), b))
        assert.equal(
            "TypeError: slice indices must be integers or None or have an __index__ method",
            message(get(py.slice "x"), b)
        )
    end)
end)

describe("a strided array", function()
    it("is read and written where its elements are", function()
        local a = numpy.arange(10)
        local every_second = a[py.slice(nil, nil, 2)]
        local b = py.buffer(every_second)
        assert.same({ 5 }, b.shape)
        assert.same({ 16 }, b.strides)
        b[1] = 20
        assert.equal("[ 0  1 20  3  4  5  6  7  8  9]", tostring(a))
        local backwards = py.buffer(a[py.slice(nil, nil, -1)])
        assert.same({ 9, 0 }, { backwards[0], backwards[-1] })
        assert.equal(string.pack("jjjjj", 0, 20, 4, 6, 8), b:string())
        b:write(string.pack("jj", -1, -2), 3)
        assert.equal("[ 0  1 20  3  4  5 -1  7 -2  9]", tostring(a))
    end)

    it("may have strides of zero", function()
        local b = py.buffer(numpy.broadcast_to(numpy.array(eval "[7]"), 3))
        assert.same({ 7, 7, 7 }, { b[0], b[1], b[2] })
        assert.equal(24, #b:string())
    end)
end)

describe("a buffer of several dimensions", function()
    local array, b

    before_each(function()
        array = numpy.arange(24):reshape(2, 3, 4)
        b = py.buffer(array)
    end)

    it("gives views without a copy, and at last elements", function()
        assert.same({ 2, 3, 4 }, b.shape)
        assert.same({ 96, 32, 8 }, b.strides)
        assert.same({ 3, 2, 24 * 8 }, { b.ndim, #b, b.nbytes })
        assert.equal(23, b[1][2][3])
        assert.equal(17, b[-1][-2][1])
        assert.same({ 3, 4 }, b[1].shape)
        assert.equal(12 * 8, b[1].nbytes)
        b[1][2][3] = 100
        assert.equal("100", tostring(array.max()))
        local rows = {}
        for i, row in pairs(b[0]) do
            rows[#rows + 1] = i .. ":" .. row[0]
        end
        assert.same({ "0:0", "1:4", "2:8" }, rows)
    end)

    it("takes all indices at once with get and set", function()
        assert.equal(23, b:get(1, 2, 3))
        assert.equal(12, b:get(1, -3, -4))
        b:set(0, 1, 2, -6)
        assert.equal(-6, b[0][1][2])
        assert.equal(4, #b:get(1, 2))
        assert.equal(23, b:get(1, 2)[3])
        assert.same(b.shape, b:get().shape)
        b:set(1, 2, string.pack("jjjj", 1, 2, 3, 4))
        assert.same({ 1, 4 }, { b[1][2][0], b[1][2][3] })
        b[0][0] = string.pack("jjjj", 5, 6, 7, 8)
        assert.equal(7, b:get(0, 0, 2))
    end)

    it("checks every index", function()
        local text = "buffer index %d is out of range (length %d)"
        assert.equal(text:format(2, 2), message(b.get, b, 2, 0, 0))
        assert.equal(text:format(-4, 3), message(b.get, b, 0, -4, 0))
        assert.equal(text:format(4, 4), message(b.set, b, 0, 0, 4, 1))
        assert.equal("too many indices (4 for 3 dimensions)", message(b.get, b, 0, 0, 0, 0))
        assert.equal("too many indices (4 for 3 dimensions)", message(b.set, b, 0, 0, 0, 0, 1))
        assert.equal("buffer index must be an integer, not string", message(b.get, b, 0, "1"))
        assert.equal("buffer index must be an integer, not nil", message(b.get, b, nil))
        assert.equal("buffer index must be an integer, not 0.5", message(b.get, b, 0, 0.5))
        local function nothing()
            b:set()
        end
        assert.equal("bad argument #1 to 'set' (value expected)", message(nothing))
        assert.equal("string of 32 bytes expected, got one of 1", message(b.set, b, 0, 0, "x"))
        assert.equal(
            "string expected for a part of a buffer, got number",
            message(set(0, 1), b)
        )
    end)

    it("is sliced in the first dimension, and copied in C's order", function()
        assert.same({ 1, 3, 4 }, b[py.slice(1, 2)].shape)
        assert.equal(12, b[py.slice(1, nil)][0][0][0])
        assert.equal(b:string(), b[0]:string() .. b[1]:string())
        local transposed = py.buffer(array.T)
        assert.equal(py.builtins.bytes(py.builtins.memoryview(array.T)), transposed:string())
        assert.equal(23, transposed:get(3, 2, 1))
        assert.equal(b[1]:string(), b:string(1))
        b:write(b:string(0, 1), 1)
        assert.equal(b[0]:string(), b[1]:string())
    end)

    it("may have none, or no elements", function()
        local zero = py.buffer(numpy.array(5))
        assert.same({}, zero.shape)
        assert.equal(5, zero:get())
        zero:set(6)
        assert.equal(6, zero:get())
        assert.equal(8, #zero:string())
        local text = "a buffer without dimensions has no items, but b:get()"
        assert.equal(text, message(get(0), zero))
        assert.equal(text, message(set(0, 1), zero))
        assert.equal(text, message(get(py.slice(1)), zero))
        assert.equal(text, message(pairs, zero))
        assert.equal(text, message(zero.write, zero, "x"))
        assert.equal(text, message(function()
            return #zero
        end))
        assert.equal("too many indices (1 for 0 dimensions)", message(zero.get, zero, 0))
        local empty = py.buffer(numpy.zeros(py.tuple { 2, 0, 3 }))
        assert.same({ 2, 0, 0 }, { #empty, #empty[0], #empty:string() })
        empty:write("", 1)
        assert.equal(
            "string of 1 bytes does not fill whole items of 0",
            message(empty.write, empty, "x")
        )
    end)
end)

describe("b:string", function()
    local b = py.buffer(bytearray "hello")

    it("copies the bytes of items, as Python's b[i:j]", function()
        assert.equal("hello", b:string())
        assert.equal("llo", b:string(2))
        assert.equal("el", b:string(1, 3))
        assert.equal("he", b:string(nil, 2))
        assert.equal("lo", b:string(-2))
        assert.equal("", b:string(4, 1))
        assert.equal("hello", b:string(-100, 100))
        assert.equal("hello", b:string(math.mininteger, math.maxinteger))
    end)

    it("needs integers", function()
        assert.equal("buffer index must be an integer, not string", message(b.string, b, "1"))
        assert.equal("buffer index must be an integer, not 1.5", message(b.string, b, 0, 1.5))
    end)
end)

describe("b:write", function()
    it("copies the bytes of a string to items from an index on", function()
        local b = py.buffer(bytearray "hello")
        b:write "J"
        b:write("y!", 3)
        b:write("L", -3)
        b:write("", 5)
        assert.equal("JeLy!", b:string())
        local words = py.buffer(make "array.array('H', [0, 0, 0])")
        words:write("\1\0\2\0", 1)
        assert.same({ 0, 1, 2 }, { words[0], words[1], words[2] })
    end)

    it("needs room, and whole items", function()
        local b = py.buffer(make "array.array('H', [1, 2, 3])")
        assert.equal(
            "string of 3 bytes does not fill whole items of 2",
            message(b.write, b, "abc")
        )
        assert.equal(
            "string of 2 items does not fit at index 2 (length 3)",
            message(b.write, b, "abcd", 2)
        )
        assert.equal(
            "string of 1 items does not fit at index 3 (length 3)",
            message(b.write, b, "ab", 3)
        )
        assert.equal("buffer index 4 is out of range (length 3)", message(b.write, b, "ab", 4))
        assert.equal("buffer index -4 is out of range (length 3)", message(b.write, b, "ab", -4))
        assert.equal(
            "bad argument #1 to 'write' (string expected, got number)",
            message(function()
                b:write(5)
            end)
        )
        assert.equal("\1\0\2\0\3\0", b:string())
    end)
end)

describe("a released buffer", function()
    it("gives its object back", function()
        local object = bytearray "hello"
        local b = py.buffer(object)
        local text = "BufferError: Existing exports of data: object cannot be re-sized"
        assert.equal(text, message(object.append, 33))
        b:release()
        object:append(33)
        do
            local c <close> = py.buffer(object)
            assert.equal(6, #c)
            assert.equal(text, message(object.append, 33))
        end
        object:append(33)
        py.buffer(object)
        support.collect()
        object:append(33)
        assert.equal("bytearray(b'hello!!!')", tostring(object))
    end)

    it("cannot be used any more, nor can its parts", function()
        local b = py.buffer(make "numpy.zeros((2, 2))")
        local row = b[0]
        local part = b[py.slice(0, 1)]
        b:release()
        b:release()
        local text = "the buffer has been released"
        for _, view in ipairs { b, row, part } do
            assert.equal(text, message(get(0), view))
            assert.equal(text, message(set(0, 1), view))
            assert.equal(text, message(get "shape", view))
            assert.equal(text, message(set("shape", 1), view))
            assert.equal(text, message(get(py.slice(1)), view))
            assert.equal(text, message(pairs, view))
            assert.equal(text, message(view.string, view))
            assert.equal(text, message(view.write, view, "x"))
            assert.equal(text, message(view.get, view, 0, 0))
            assert.equal(text, message(view.set, view, 0, 0, 1))
            assert.equal(text, message(function()
                return #view
            end))
        end
    end)

    it("that is a part takes nothing else with it", function()
        local object = bytearray "hello"
        local b = py.buffer(object)
        do
            local part <close> = b[py.slice(1, 3)]
            assert.equal(101, part[0])
        end
        assert.equal(101, b[1])
        local part = b[py.slice(1, 3)]
        b = nil -- luacheck: ignore
        support.collect()
        assert.equal(101, part[0])
        assert.matches("^BufferError", message(object.append, 33))
        part = nil -- luacheck: ignore
        support.collect()
        object:append(33)
    end)

    it("ends a loop over it with an error", function()
        local b = py.buffer(bytearray "hello")
        assert.equal("the buffer has been released", message(function()
            for _ in pairs(b) do
                b:release()
            end
        end))
    end)

    it("is not written by a value that releases it", function()
        local b
        local names = support.python [[
            class Index:
                def __init__(self, f):
                    self.f = f
                def __index__(self):
                    self.f()
                    return 1
                def __float__(self):
                    self.f()
                    return 1.0
        ]]
        local value = names.Index(function()
            b:release()
        end)
        local text = "the buffer has been released"
        b = py.buffer(bytearray "x")
        assert.equal(text, message(set(0, value), b))
        b = packed("d", 1.0)
        assert.equal(text, message(set(0, value), b))
        b = py.buffer(bytearray "x")
        assert.equal(text, message(get(py.slice(value)), b))
        b = py.buffer(bytearray "x")
        assert.equal(text, message(set(py.slice(value), "y"), b))
    end)

    it("calls what the object does then, whose errors are not the buffer's", function()
        local names = support.python [[
            view = memoryview(bytearray(b"abc"))
        ]]
        local b = py.buffer(names.view)
        assert.matches("^BufferError: ", message(names.view.release))
        b:release()
        names.view:release()
    end)
end)

describe("the methods of a buffer", function()
    it("need one", function()
        local b = py.buffer(bytearray "x")
        for _, name in ipairs { "get", "set", "string", "write", "release" } do
            local method = b[name]
            local function call(value)
                method(value)
            end
            assert.equal("bad argument #1 to 'method' (buffer expected, got table)", message(call, {}))
            assert.equal(
                "bad argument #1 to 'method' (buffer expected, got userdata)",
                (message(call, io.stdout):gsub("FILE%*", "userdata"))
            )
            assert.equal(
                "bad argument #1 to 'method' (buffer expected, got Python object)",
                message(call, b.object)
            )
        end
        local metatable = debug.getmetatable(b)
        for _, name in ipairs { "__index", "__newindex", "__len", "__pairs", "__close" } do
            local ok, err = pcall(metatable[name], io.stdout, 1)
            assert.is_false(ok)
            assert.matches("buffer expected", err)
        end
    end)
end)

describe("py.memoryview", function()
    it("is a view of a Lua string, read-only", function()
        local view = py.memoryview "hello\0\xff"
        assert.equal("memoryview", view.__class__.__name__)
        assert.equal("hello\0\xff", view:tobytes())
        assert.same({ 7, 104, true, "B" }, { #view, view[0], view.readonly, view.format })
        assert.equal(0, #py.memoryview "")
        assert.equal("TypeError: cannot modify read-only memory", message(function()
            view[0] = 1
        end))
    end)

    it("copies nothing", function()
        local text = ("x"):rep(10000)
        local address = support.python([[
            import ctypes, numpy
            def address(view):
                return numpy.frombuffer(view, numpy.uint8).ctypes.data
        ]]).address
        assert.equal(address(py.memoryview(text)), address(py.memoryview(text)))
        -- The block begins with a header of Lua's, which is what %p shows.
        local offset = address(py.memoryview(text)) - tonumber(string.format("%p", text))
        assert.is_true(offset >= 0 and offset < 64, offset)
    end)

    it("serves whatever takes bytes", function()
        assert.equal(
            "5d41402abc4b2a76b9719d911017c592",
            py.import("hashlib").md5(py.memoryview "hello"):hexdigest()
        )
        local array = numpy.frombuffer(py.memoryview(string.pack("<ddd", 1, 2, 4)))
        assert.equal(7.0, array:sum():item())
        assert.equal(2.0, py.buffer(array)[1])
    end)

    it("keeps the string as long as Python sees it", function()
        local view
        do
            local text = ("keep"):rep(1000) .. os.time()
            view = py.memoryview(text)
            view = view[py.slice(0, 8)]
        end
        support.collect()
        for i = 1, 1000 do
            local _ = ("x"):rep(4000 + i)
        end
        assert.equal("keepkeep", view:tobytes())
    end)

    it("gives the string back", function()
        local view = py.memoryview "text"
        assert.equal("text", view.obj)
        local names = support.python "def kind(view): return type(view.obj).__name__"
        assert.equal("LuaString", names.kind(view))
    end)

    it("is compared and hashed like bytes", function()
        local view = py.memoryview "text"
        assert.is_true(view == py.memoryview "text")
        assert.is_true(view == py.bytes "text")
        assert.is_true(py.builtins.hash(view) == py.builtins.hash(py.bytes "text"))
    end)

    it("can be used and dropped in another thread", function()
        local names = support.python [[
            import threading
            def use(views):
                total = []
                def run():
                    while views:
                        total.append(len(bytes(views.pop())))
                thread = threading.Thread(target=run)
                thread.start()
                thread.join()
                return sum(total)
        ]]
        local views = py.list()
        for i = 1, 100 do
            views:append(py.memoryview(("x"):rep(i)))
        end
        assert.equal(5050, names.use(views))
        support.collect()
    end)

    it("is Python's memoryview for a Python object", function()
        local object = bytearray "x"
        py.memoryview(object)[0] = 65
        assert.equal("bytearray(b'A')", tostring(object))
        assert.equal(
            "TypeError: memoryview: a bytes-like object is required, not 'list'",
            message(py.memoryview, eval "[]")
        )
    end)

    it("needs a string or a Python object", function()
        local function view(value)
            py.memoryview(value)
        end
        local text = "bad argument #1 to 'memoryview' (string or Python object expected, got %s)"
        assert.equal(text:format "number", message(view, 5))
        assert.equal(text:format "nil", message(view, nil))
        assert.equal(text:format "table", message(view, {}))
    end)

    it("may be alive when the program ends", function()
        local output, status = support.child [[
            local py = require("moonlet").python
            py.import("__main__").view = py.memoryview(("x"):rep(100000))
            py.exec "import atexit; atexit.register(lambda: print(len(bytes(view))))"
        ]]
        assert.equal("100000\n", output)
        assert.equal(0, status)
    end)
end)

describe("memory does not grow", function()
    local array = numpy.zeros(py.tuple { 4, 4 })

    it("with buffers", function()
        local object = bytearray(("x"):rep(10000))
        support.stays_small(20000, function()
            local b = py.buffer(object)
            local _ = b[py.slice(1, 2)][0]
            do
                local c <close> = py.buffer(array)
                c[1][2] = c[0][0]
                c:set(1, 2, 3)
                _ = c[0]:string()
            end
            pcall(get(99999), b)
            pcall(py.buffer, {})
        end)
    end)

    it("with views of strings", function()
        local i = 0
        support.stays_small(20000, function()
            i = i + 1
            local _ = py.memoryview("text " .. i)[0]
            _ = py.memoryview(("x"):rep(1000))
        end)
    end)
end)
