-- Python's coroutines and asynchronous generators are ordinary objects in Lua.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local error_of, message = support.error_of, support.message

local namespace = support.python [[
    import types
    import warnings

    class Wait:
        def __await__(self):
            return (yield "waiting")

    log = []

    async def work(x):
        try:
            got = await Wait()
            got2 = await Wait()
            return x, got, got2
        except ValueError as e:
            return "caught " + str(e)
        finally:
            log.append("finally")

    async def count(n):
        try:
            for i in range(n):
                yield i
                await Wait()
        finally:
            log.append("closed")

    class Manager:
        async def __aenter__(self):
            await Wait()
            return "entered"
        async def __aexit__(self, *error):
            await Wait()
            return error[0] is not None

    def recorded(f):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            f()
        return [str(w.message) for w in caught]
]]

--- The value with which the coroutine (or what is awaited) ends when it is sent nil next.
local function result(co)
    local err = error_of(function()
        return co:send(nil)
    end)
    assert(py.isinstance(err, py.builtins.StopIteration), tostring(err))
    return py.attr(err, "value")
end

describe("a coroutine of Python", function()
    it("is driven by send, and ends with StopIteration", function()
        local co = namespace.work(1)
        assert.equal("waiting", co:send(nil))
        assert.equal("waiting", co:send "first")
        local err = error_of(function()
            co:send "second"
        end)
        assert.is_true(py.isinstance(err, py.builtins.StopIteration))
        assert.equal("(1, 'first', 'second')", py.builtins.repr(py.attr(err, "value")))
        assert.equal("RuntimeError: cannot reuse already awaited coroutine", message(co.send, nil))
    end)

    it("can be thrown into and closed", function()
        local co = namespace.work(1)
        co:send(nil)
        local err = error_of(function()
            co:throw(py.builtins.ValueError "thrown")
        end)
        assert.equal("caught thrown", py.attr(err, "value"))
        namespace.log:clear()
        co = namespace.work(1)
        co:send(nil)
        co:close()
        assert.equal(1, #namespace.log)
    end)

    it("that is never awaited is a warning when it is dropped", function()
        local messages = namespace.recorded(function()
            namespace.work(1)
            support.collect()
        end)
        assert.equal("[\"coroutine 'work' was never awaited\"]", py.builtins.repr(messages))
    end)

    it("that is dropped while it waits is closed", function()
        namespace.log:clear()
        do
            namespace.work(1):send(nil)
        end
        support.collect()
        assert.equal(1, #namespace.log)
    end)

    it("may switch greenlets", function()
        local co = support.python([[
            async def switching(pause):
                return pause("in a coroutine")
        ]]).switching(support.pause)
        local g = moonlet.greenlet(function()
            return result(co)
        end)
        assert.equal("in a coroutine", (g:switch()))
        assert.equal("back", (g:switch "back"))
    end)

    it("runs to its end in an event loop that Lua has made", function()
        local asyncio = py.import "asyncio"
        assert.equal("done", asyncio.run(asyncio.sleep(0, "done")))
    end)
end)

describe("an asynchronous generator", function()
    it("gives its items to who drives __anext__", function()
        local items = namespace.count(2)
        assert.equal(0, result(items:__anext__()))
        local next_item = items:__anext__()
        assert.equal("waiting", next_item:send(nil))
        assert.equal(1, result(next_item))
        local last = items:__anext__()
        assert.equal("waiting", last:send(nil))
        assert.matches("^StopAsyncIteration", message(function()
            last:send(nil)
        end))
    end)

    it("is closed by aclose", function()
        namespace.log:clear()
        local items = namespace.count(2)
        result(items:__anext__())
        assert.is_nil(result(items:aclose()))
        assert.equal("['closed']", py.builtins.repr(namespace.log))
    end)

    it("can be thrown into", function()
        local items = namespace.count(2)
        result(items:__anext__())
        assert.equal("KeyError: 'k'", message(function()
            items:athrow(py.builtins.KeyError "k"):send(nil)
        end))
    end)

    it("can be dropped at any point", function()
        namespace.log:clear()
        namespace.count(2)
        do
            local items = namespace.count(2)
            result(items:__anext__())
            items:__anext__():send(nil)
        end
        support.collect()
        assert.equal("['closed']", py.builtins.repr(namespace.log))
    end)
end)

describe("an asynchronous context manager", function()
    it("is entered and left by driving its methods", function()
        local manager = namespace.Manager()
        local entering = manager:__aenter__()
        assert.equal("waiting", entering:send(nil))
        assert.equal("entered", result(entering))
        local leaving = manager:__aexit__(nil, nil, nil)
        assert.equal("waiting", leaving:send(nil))
        assert.is_false(result(leaving))
    end)
end)
