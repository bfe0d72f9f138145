-- Pools: so many tasks at a time; map, imap and imap_unordered.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message, run = support.message, support.main

--- What f(i) returns is i; a smaller one takes longer.
local function slowly(i)
    moonlet.sleep(1 / i)
    return i
end

describe("moonlet.pool", function()
    it("runs so many tasks at a time", run(function()
        local pool, room = moonlet.pool(3), {}
        for _ = 1, 10 do
            pool:spawn(function()
                support.visit(room)
            end)
        end
        pool:join()
        assert.same({ 3, 0, 3, 0, 3 }, { room.most, room.inside, pool.size, pool.running, pool.free })
    end))

    it("gives the task, whose result can be joined", run(function()
        local pool = moonlet.pool(1)
        local task = pool:spawn(function(...)
            return ...
        end, 1, nil, 3)
        assert.same({ n = 3, 1, nil, 3 }, table.pack(task:join()))
        task = pool:spawn(error, "failed", 0)
        assert.equal("failed", message(task.join, task))
    end))

    it("makes spawn wait for a place, in order", run(function()
        local pool, log = moonlet.pool(1), {}
        local gate = moonlet.event()
        pool:spawn(gate.wait, gate)
        for i = 1, 3 do
            moonlet.spawn(function()
                pool:spawn(table.insert, log, i)
            end)
        end
        moonlet.sleep()
        assert.is_nil(pool:try_spawn(print))
        gate:set()
        moonlet.sleep(0.01)
        assert.same({ 1, 2, 3 }, log)
        assert.equal(5, pool:try_spawn(math.max, 5):join())
    end))

    it("reports errors that nobody joins", function()
        local reports = {}
        local before = moonlet.on_error(function(text, err)
            table.insert(reports, text .. ": " .. tostring(err))
        end)
        moonlet.run(function()
            local pool = moonlet.pool(1)
            pool:spawn(error, "failed", 0)
            pool:join()
        end)
        moonlet.on_error(before)
        assert.equal(1, #reports)
        assert.matches("^error in task %d+.*, which nobody has joined: .*failed$", reports[1])
    end)

    it("gives the place of a task back that was cancelled, also before it started", run(function()
        local pool = moonlet.pool(2)
        local a, b = pool:spawn(moonlet.sleep, 100), pool:spawn(moonlet.sleep, 100)
        a:cancel()
        moonlet.sleep()
        b:cancel()
        moonlet.wait_all { a, b }
        assert.equal(2, pool.free)
    end))

    it("does not lose a place when who waits for it is cancelled", run(function()
        local pool = moonlet.pool(1)
        local first = pool:spawn(moonlet.sleep)
        local waiter = moonlet.spawn(pool.spawn, pool, print)
        moonlet.sleep()
        waiter:cancel()
        first:wait()
        waiter:wait()
        pool:join()
        assert.equal(1, pool.free)
    end))

    it("cancels all its tasks", run(function()
        local pool = moonlet.pool(2)
        local a, b = pool:spawn(moonlet.sleep, 100), pool:spawn(moonlet.sleep, 100)
        pool:cancel "enough"
        pool:join()
        assert.same({ "cancelled", "cancelled" }, { a.status, b.status })
        assert.matches("was cancelled: enough$", message(a.join, a))
    end))

    it("joins at the end of a block", run(function()
        local done = 0
        do
            local pool <close> = moonlet.pool(2)
            for _ = 1, 4 do
                pool:spawn(function()
                    moonlet.sleep()
                    done = done + 1
                end)
            end
        end
        assert.equal(4, done)
    end))

    it("cancels at the end of a block that fails", run(function()
        local task
        local text = message(function()
            local pool <close> = moonlet.pool(2)
            task = pool:spawn(moonlet.sleep, 100)
            moonlet.sleep()
            error("failed", 0)
        end)
        assert.same({ "failed", "cancelled" }, { text, task.status })
    end))

    it("has a timeout for join", run(function()
        local clock <close> = moonlet.virtual_clock()
        local pool = moonlet.pool(1)
        pool:spawn(moonlet.sleep, 2)
        local text = "TimeoutError: the tasks of the pool have not ended within 1 seconds"
        assert.equal(text, message(pool.join, pool, 1))
        pool:join(2)
        clock:advance(1)
    end))

    it("refuses other arguments", function()
        local pool = moonlet.pool(1)
        assert.equal("bad argument #1 to 'pool' (integer expected, got nil)", message(moonlet.pool))
        assert.equal("bad argument #1 to 'pool' (at least 1 expected, got 0)", message(moonlet.pool, 0))
        assert.equal("bad argument #2 to 'pool' (at least 0 expected, got -1)", message(moonlet.pool, 1, -1))
        local text = "bad argument #1 to '%s' (function or Python callable expected, got nil)"
        for _, name in ipairs { "spawn", "try_spawn", "map", "imap", "imap_unordered" } do
            assert.equal(text:format(name), message(pool[name], pool))
        end
        assert.equal(
            "bad argument #2 to 'map' (list, iterator or iterable expected, got nil)",
            message(pool.map, pool, print)
        )
        assert.equal(
            "bad argument #2 to 'imap' (TypeError: 'builtin_function_or_method' object is not iterable)",
            message(pool.imap, pool, print, py.builtins.print)
        )
        assert.equal("bad argument #1 to 'spawn' (pool expected, got table)", message(pool.spawn, {}, print))
        assert.matches("^pool %d+: 0 of 1 tasks$", tostring(pool))
    end)
end)

describe("map of a pool", function()
    it("gives the results in the order of the items", run(function()
        local clock <close> = moonlet.virtual_clock()
        assert.same({ 1, 2, 3, 4 }, moonlet.pool(4):map(slowly, { 1, 2, 3, 4 }))
        assert.same({}, moonlet.pool(4):map(slowly, {}))
        clock:advance(1)
    end))

    it("takes lists, iterators, channels and what Python can iterate", run(function()
        local pool = moonlet.pool(2)
        local function same(...)
            return ...
        end
        assert.same({ "a", "b" }, pool:map(same, string.gmatch("a b", "%a")))
        assert.same({ { 1, "x", n = 2 }, { 2, "y", n = 2 } }, pool:map(same, ipairs { "x", "y" }))
        local ch = moonlet.channel(3)
        ch:send(1)
        ch:send(2)
        ch:close()
        assert.same({ 1, 2 }, pool:map(same, ch))
        assert.same({ "0", "1", "2" }, pool:map(py.builtins.str, py.builtins.range(3)))
        assert.same({ 1, 2 }, pool:map(same, coroutine.wrap(function()
            coroutine.yield(1)
            coroutine.yield(2)
        end)))
    end))

    it("keeps nil, and several values", run(function()
        local pool = moonlet.pool(2)
        assert.same({ 1, nil, 3, n = 3 }, pool:map(function(i)
            return i ~= 2 and i or nil
        end, { 1, 2, 3 }))
        assert.same({ n = 3 }, pool:map(function() end, table.pack(nil, nil, nil)))
        assert.same({ { 1, 1, n = 2 } }, pool:map(py.eval "lambda x: (x, x)", { 1 }))
        assert.same({ "x" }, pool:map(py.eval "lambda x: b'x'", { 1 }))
    end))

    it("raises the first error, and cancels the rest before", run(function()
        local pool, status = moonlet.pool(3), nil
        local text = message(pool.map, pool, function(i)
            if i == 2 then
                moonlet.sleep()
                error("failed", 0)
            end
            local _ <close> = setmetatable({}, {
                __close = function(_, err)
                    status = tostring(err)
                end,
            })
            moonlet.sleep(100)
        end, { 1, 2, 3, 4, 5, 6 })
        assert.equal("failed", text)
        assert.matches("Cancelled", status)
        assert.equal(3, pool.free)
    end))

    it("cancels all when it is cancelled itself", run(function()
        local pool = moonlet.pool(2)
        local task = moonlet.spawn(pool.map, pool, moonlet.sleep, { 100, 100, 100 })
        moonlet.sleep(0.001)
        assert.equal(0, pool.free)
        task:cancel()
        task:wait()
        assert.same({ "cancelled", 2 }, { task.status, pool.free })
    end))

    it("raises an error of the iterator", run(function()
        local pool = moonlet.pool(2)
        local i = 0
        assert.equal("no more", message(pool.map, pool, print, function()
            i = i + 1
            error("no more", 0)
        end))
        assert.equal(1, i)
    end))
end)

describe("imap of a pool", function()
    it("gives the results one by one, in the order of the items", run(function()
        local clock <close> = moonlet.virtual_clock()
        local all = {}
        for i in moonlet.pool(4):imap(slowly, { 1, 2, 3, 4 }) do
            table.insert(all, i)
        end
        assert.same({ 1, 2, 3, 4 }, all)
        clock:advance(1)
    end))

    it("gives them in the order in which they are done, if unordered", run(function()
        local clock <close> = moonlet.virtual_clock()
        local all = {}
        for i in moonlet.pool(4):imap_unordered(slowly, { 1, 2, 3, 4 }) do
            table.insert(all, i)
        end
        assert.same({ 4, 3, 2, 1 }, all)
        clock:advance(1)
    end))

    it("gives several values, and py.none for nil", run(function()
        local all = {}
        for a, b in moonlet.pool(2):imap(function(i)
            return i > 1 and i or nil, "x"
        end, { 1, 2 }) do
            table.insert(all, tostring(a) .. b)
        end
        assert.same({ "Nonex", "2x" }, all)
    end))

    it("does not run ahead of who takes the results", run(function()
        for ahead = 0, 3 do
            local pool = moonlet.pool(2, ahead)
            local taken, given = 0, 0
            for _ in pool:imap(function() end, function()
                given = given + 1
                return given
            end) do
                taken = taken + 1
                for _ = 1, 10 do
                    moonlet.sleep()
                end
                assert.is_true(given - taken <= 2 + ahead + 1)
                if taken == 20 then
                    break
                end
            end
        end
    end))

    it("cancels what is left when the loop ends early", run(function()
        local pool = moonlet.pool(3)
        local started = 0
        for _, name in ipairs { "imap", "imap_unordered" } do
            for i in pool[name](pool, function(i)
                started = started + 1
                moonlet.sleep(i == 1 and 0 or 100)
                return i
            end, { 1, 2, 3, 4, 5, 6, 7, 8 }) do
                if i == 1 then
                    break
                end
            end
            pool:join()
            assert.is_true(started < 6)
            assert.equal(3, pool.free)
            started = 0
        end
    end))

    it("raises an error in its turn, and cancels what is left", run(function()
        local pool, all = moonlet.pool(2), {}
        local text = message(function()
            for i in pool:imap(function(i)
                if i == 3 then
                    error("failed", 0)
                elseif i > 3 then
                    moonlet.sleep(100)
                end
                return i
            end, { 1, 2, 3, 4, 5 }) do
                table.insert(all, i)
            end
        end)
        assert.same({ "failed", { 1, 2 } }, { text, all })
        pool:join()
        assert.equal(2, pool.free)
    end))

    it("can be shared by several tasks, and called by hand", run(function()
        local pool, sum = moonlet.pool(2), 0
        local results = pool:imap(function(i)
            moonlet.sleep()
            return i
        end, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 })
        assert.equal(1, results())
        local tasks = {}
        for i = 1, 3 do
            tasks[i] = moonlet.spawn(function()
                for v in results do
                    sum = sum + v
                end
            end)
        end
        moonlet.wait_all(tasks)
        assert.equal(54, sum)
        assert.is_nil(results())
        results:close()
        assert.matches("^results of pool %d+", tostring(results))
    end))

    it("cancels what is left when it is dropped", run(function()
        local pool = moonlet.pool(2)
        local function start()
            local results = pool:imap(function(i)
                moonlet.sleep(i > 1 and 100 or 0)
            end, { 1, 2, 3, 4, 5, 6 })
            results()
        end
        start()
        support.collect()
        pool:join(10)
        assert.equal(2, pool.free)
    end))

    it("does not keep the run from ending when nobody takes the results", function()
        local pool = moonlet.pool(2)
        moonlet.run(function()
            pool:imap(function() end, function()
                return 1
            end)
            moonlet.sleep(0.001)
        end)
        assert.equal(2, pool.free)
    end)
end)

describe("a pool in Python", function()
    local namespace = support.python [[
        import moonlet
        from moonlet import Pool

        def work(x):
            moonlet.sleep(0)
            return x

        def main():
            pool = Pool(2)
            items = [1, b"x", (1, 2), None, "s"]
            result = [pool.map(work, items), list(pool.imap(work, items)),
                      len(list(pool.imap_unordered(work, items))),
                      pool.spawn(work, b"x").join(), pool.try_spawn(work, 1).join()]
            def endless():
                while True:
                    yield 1
            for x in pool.imap(work, endless()):
                break
            it = pool.imap_unordered(work, endless())
            next(it)
            it.close()
            pool.join(timeout=5)
            result.append((pool.size, pool.running, pool.free))
            for f in [lambda: pool.map(lambda x: 1 // x, [1, 0]), lambda: list(pool.imap(lambda x: 1 // x, [1, 0])),
                      lambda: pool.map(1, []), lambda: pool.map(work, 1), lambda: pool.spawn(1),
                      lambda: Pool("x"), lambda: Pool(0), lambda: pool.map(work, (1 // x for x in [1, 0]))]:
                try:
                    result.append(f())
                except Exception as e:
                    result.append(type(e).__name__ + ": " + str(e))
            log = []
            with Pool(size=2, ahead=1) as pool:
                for i in range(4):
                    pool.spawn(lambda i: log.append(work(i)), i)
            result.append(log)
            try:
                with Pool(1) as pool:
                    t = pool.spawn(moonlet.sleep, 100)
                    raise KeyError("x")
            except KeyError:
                result.append(t["status"])
            t = pool.spawn(moonlet.sleep, 100)
            pool.cancel("enough")
            pool.join()
            result.append(pool.map(moonlet.lua.eval("function(x) return x, 2 end"), [1]))
            return "\n".join(map(repr, result))
    ]]

    it("is as in Lua", function()
        py.import "moonlet.lua"
        assert.equal(
            [=[
[1, b'x', (1, 2), None, 's']
[1, b'x', (1, 2), None, 's']
5
b'x'
1
(2, 0, 2)
'ZeroDivisionError: integer division or modulo by zero'
'ZeroDivisionError: integer division or modulo by zero'
'TypeError: a callable was expected, got int'
"TypeError: 'int' object is not iterable"
"TypeError: bad argument #1 to 'spawn' (function or Python callable expected, got number)"
"TypeError: bad argument #1 to 'pool' (integer expected, got string)"
"ValueError: bad argument #1 to 'pool' (at least 1 expected, got 0)"
'ZeroDivisionError: integer division or modulo by zero'
[0, 1, 2, 3]
'cancelled'
[(1, 2)]]=],
            moonlet.run(namespace.main)
        )
    end)
end)
