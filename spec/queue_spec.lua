-- Queues: first in first out, last in first out, by priority; task_done and join; shutdown.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local message, run = support.message, support.main
local closed = "moonlet.Closed: the %s is closed"

--- All items that are in a queue, in the order in which it gives them.
local function drain(queue)
    local all = {}
    while not queue:empty() do
        all[#all + 1] = queue:get()
    end
    return all
end

describe("moonlet.queue", function()
    it("gives items in the order in which they came", run(function()
        local q = moonlet.queue()
        for i = 1, 5 do
            q:put(i)
        end
        assert.same({ 5, 5, false, false }, { #q, q:qsize(), q:empty(), q:full() })
        assert.same({ 1, 2, 3, 4, 5 }, drain(q))
        assert.is_true(q:empty())
    end))

    it("waits for items, and for room", run(function()
        local q, log = moonlet.queue(2), {}
        local producer = moonlet.spawn(function()
            for i = 1, 6 do
                q:put(i)
                table.insert(log, "+" .. i)
            end
        end)
        moonlet.sleep()
        assert.same({ "+1", "+2" }, log)
        assert.is_true(q:full())
        assert.equal(2, q.maxsize)
        for i = 1, 6 do
            assert.equal(i, q:get())
            moonlet.sleep()
        end
        producer:join()
        local getter = moonlet.spawn(q.get, q)
        moonlet.sleep()
        q:put(nil)
        assert.is_nil(getter:join())
    end))

    it("serves in the order in which tasks came", run(function()
        local q, log = moonlet.queue(1), {}
        for i = 1, 3 do
            moonlet.spawn(function()
                table.insert(log, i .. q:get())
            end)
        end
        moonlet.sleep()
        for _, item in ipairs { "a", "b", "c" } do
            q:put(item)
        end
        moonlet.sleep()
        assert.same({ "1a", "2b", "3c" }, log)
    end))

    it("tries without waiting", run(function()
        local q = moonlet.queue(1)
        assert.same({ n = 1, false }, table.pack(q:try_get()))
        assert.same({ true, false }, { q:try_put(nil), q:try_put(2) })
        assert.same({ n = 2, true }, table.pack(q:try_get()))
    end))

    it("has timeouts", run(function()
        local clock <close> = moonlet.virtual_clock()
        local q = moonlet.queue(1)
        assert.equal("TimeoutError: nothing was put within 2 seconds", message(q.get, q, 2))
        q:put(1)
        assert.equal("TimeoutError: nothing could be put within 0.5 seconds", message(q.put, q, 2, 0.5))
        assert.equal("TimeoutError: nothing could be put within 0 seconds", message(q.put, q, 2, 0))
        assert.equal("TimeoutError: the queue was not done within 1 seconds", message(q.join, q, 1))
        assert.same({ 1 }, drain(q))
        clock:advance(1)
    end))

    it("can be cancelled at every wait", run(function()
        local q = moonlet.queue(1)
        local getter = moonlet.spawn(q.get, q)
        moonlet.sleep()
        getter:cancel()
        q:put(1)
        local putter, joiner = moonlet.spawn(q.put, q, 2), moonlet.spawn(q.join, q)
        moonlet.sleep()
        putter:cancel()
        joiner:cancel()
        moonlet.wait_all { putter, joiner, getter }
        assert.same({ 1 }, drain(q))
    end))

    it("waits until all that was put is done", run(function()
        local q, log = moonlet.queue(), {}
        moonlet.spawn(function()
            for item in q do
                moonlet.sleep()
                table.insert(log, item)
                q:task_done()
            end
        end)
        q:put "a"
        q:put "b"
        assert.equal(2, q.unfinished)
        q:join()
        assert.same({ "a", "b" }, log)
        q:join()
        assert.equal("task_done() was called more often than items were put", message(q.task_done, q))
        q:shutdown()
    end))

    it("refuses other arguments", function()
        local q = moonlet.queue()
        assert.equal("bad argument #1 to 'queue' (integer expected, got string)", message(moonlet.queue, "x"))
        assert.equal("bad argument #1 to 'lifo_queue' (integer expected, got number)", message(moonlet.lifo_queue, 0.5))
        assert.equal("bad argument #1 to 'get' (queue expected, got channel)", message(q.get, moonlet.channel()))
        assert.equal("bad argument #1 to 'put' (queue expected, got nil)", message(q.put))
        assert.equal("bad argument #1 to 'get' (seconds expected, got boolean)", message(q.get, q, true))
        assert.equal("bad argument #2 to 'put' (seconds expected, got boolean)", message(q.put, q, 1, true))
        q = moonlet.priority_queue()
        assert.equal("bad argument #2 to 'put' (priority expected, got nil)", message(q.put, q))
        assert.equal("bad argument #3 to 'put' (seconds expected, got boolean)", message(q.put, q, 1, 2, true))
    end)

    it("tells what it is", function()
        assert.matches("^queue %d+: 0 items$", tostring(moonlet.queue()))
        local q = moonlet.priority_queue(3)
        q:try_put(1)
        q:shutdown()
        assert.matches("^priority queue %d+: 1 of 3 items, closed$", tostring(q))
    end)
end)

describe("shutdown of a queue", function()
    it("lets what is left be taken", run(function()
        local q = moonlet.queue()
        q:put(1)
        assert.same({ true, false }, { q:shutdown(), q:shutdown() })
        assert.is_true(q.closed)
        assert.equal(closed:format "queue", message(q.put, q, 2))
        assert.equal(closed:format "queue", message(q.try_put, q, 2))
        assert.equal(1, q:get())
        assert.equal(closed:format "queue", message(q.get, q))
        assert.equal(closed:format "queue", message(q.try_get, q))
    end))

    it("ends all waits", run(function()
        local q, full = moonlet.queue(), moonlet.lifo_queue(1)
        full:put(1)
        local getter, putter = moonlet.spawn(q.get, q), moonlet.spawn(full.put, full, 2)
        moonlet.sleep()
        q:shutdown()
        full:shutdown()
        assert.equal(closed:format "queue", message(getter.join, getter))
        assert.equal(closed:format "lifo queue", message(putter.join, putter))
        assert.equal(1, full:get())
    end))

    it("drops what is left, if it is to be immediate", run(function()
        local q = moonlet.queue()
        for i = 1, 3 do
            q:put(i)
        end
        q:get()
        local joiner = moonlet.spawn(q.join, q)
        moonlet.sleep()
        q:shutdown(true)
        assert.equal(closed:format "queue", message(q.get, q))
        assert.equal(1, q.unfinished)
        q:task_done()
        joiner:join()
    end))

    it("ends loops", run(function()
        local q, log = moonlet.queue(), {}
        for i = 1, 3 do
            q:put(i)
        end
        q:put(nil)
        q:shutdown()
        for item in q do
            table.insert(log, item == py.none and "none" or item)
        end
        assert.same({ 1, 2, 3, "none" }, log)
    end))
end)

describe("moonlet.lifo_queue", function()
    it("gives the newest item first", run(function()
        local q = moonlet.lifo_queue(3)
        for i = 1, 3 do
            q:put(i)
        end
        moonlet.spawn(q.put, q, 4)
        moonlet.sleep()
        assert.same({ 3, 4, 2, 1 }, drain(q))
    end))
end)

describe("moonlet.priority_queue", function()
    it("gives the smallest item first", run(function()
        local q = moonlet.priority_queue()
        for _, item in ipairs { 5, 1, 4.5, 2, 3, -1 } do
            q:put(item)
        end
        assert.same({ -1, 1, 2, 3, 4.5, 5 }, drain(q))
        for _, item in ipairs { "pear", "apple", "fig" } do
            q:put(item)
        end
        assert.same({ "apple", "fig", "pear" }, drain(q))
    end))

    it("gives that of the smallest priority first, of equal ones the oldest", run(function()
        local q = moonlet.priority_queue()
        for i = 1, 1000 do
            q:put({ i % 7, i }, i % 7)
        end
        local all = drain(q)
        assert.equal(1000, #all)
        for i = 2, #all do
            local a, b = all[i - 1], all[i]
            assert.is_true(a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]))
        end
    end))

    it("takes what waits for room by its priority", run(function()
        local q = moonlet.priority_queue(1)
        q:put("c", 3)
        moonlet.spawn(q.put, q, "a", 1)
        moonlet.spawn(q.put, q, "b", 2)
        moonlet.sleep()
        assert.same({ "c", "a", "b" }, drain(q))
    end))

    it("compares what can be compared, and is as before if it cannot be", run(function()
        local q = moonlet.priority_queue(2)
        q:put(2)
        assert.equal(
            "priorities cannot be compared: attempt to compare string with number",
            message(q.put, q, "x")
        )
        assert.equal("priorities cannot be compared: attempt to compare table with number", message(q.put, q, {}))
        q:put(1)
        local putter = moonlet.spawn(q.put, q, "x")
        moonlet.sleep()
        assert.equal(1, q:get())
        assert.equal(
            "priorities cannot be compared: attempt to compare string with number",
            message(putter.join, putter)
        )
        assert.equal(2, q:get())
        q:put "x"
        assert.equal("x", q:get())
    end))

    it("compares by metamethods", run(function()
        local q = moonlet.priority_queue()
        local meta = {
            __lt = function(a, b)
                return a.key < b.key
            end,
        }
        for _, key in ipairs { 2, 3, 1 } do
            q:put(setmetatable({ key = key }, meta))
        end
        assert.same({ 1, 2, 3 }, { q:get().key, q:get().key, q:get().key })
    end))

    it("is whole when a comparison waits", run(function()
        local q = moonlet.priority_queue()
        local meta = {
            __lt = function(a, b)
                moonlet.sleep()
                return a.key < b.key
            end,
        }
        local tasks = {}
        for i = 1, 20 do
            tasks[i] = moonlet.spawn(q.put, q, setmetatable({ key = i * 7 % 20 }, meta))
        end
        moonlet.wait_all(tasks)
        local keys = {}
        for i = 1, 20 do
            keys[i] = q:get().key
        end
        for i = 1, 20 do
            assert.equal(i - 1, keys[i])
        end
    end))
end)

describe("queues in Python", function()
    local namespace = support.python [[
        import moonlet
        from moonlet import LifoQueue, PriorityQueue, Queue

        def main():
            result = []
            q = Queue(maxsize=2)
            def produce():
                for item in [b"x", None, (1, 2), "s"]:
                    q.put(item)
                q.shutdown()
            moonlet.spawn(produce)
            result.append(list(q))
            q = PriorityQueue()
            for item in [(2, "b"), (1, "z"), (1, "a")]:
                q.put(item)
            q.put("first", priority=(0,))
            q.put(b"last", (9,), timeout=1)
            result.append([q.get() for _ in range(5)])
            q = LifoQueue(1)
            result.append((q.try_put(1), q.try_put(2), q.qsize(), q.full(), q.empty(), q.maxsize,
                           q.unfinished, len(q), q.closed, q.try_get(), issubclass(LifoQueue, Queue)))
            q.task_done()
            q.join(timeout=1)
            q.put(1)
            for f in [lambda: q.put(2, timeout=0), q.get, q.try_get, lambda: q.get(timeout=0),
                      q.task_done, q.task_done, lambda: Queue("x"), lambda: q.get("x"),
                      lambda: PriorityQueue().put(None), lambda: q.shutdown(immediate=True), q.get]:
                try:
                    result.append(f())
                except Exception as e:
                    result.append(type(e).__name__ + ": " + str(e))
            q = PriorityQueue()
            q.put(1)
            try:
                q.put("x")
            except TypeError as e:
                result.append(str(e))
            return "\n".join(map(repr, result))
    ]]

    it("are as in Lua", function()
        assert.equal(
            [[
[b'x', None, (1, 2), 's']
['first', (1, 'a'), (1, 'z'), (2, 'b'), b'last']
(True, False, 1, True, False, 1, 1, 1, False, 1, True)
'TimeoutError: nothing could be put within 0 seconds'
1
'WouldBlock: there is no item in the queue'
'TimeoutError: nothing was put within 0 seconds'
None
'ValueError: task_done() was called more often than items were put'
"TypeError: bad argument #1 to 'queue' (integer expected, got string)"
"TypeError: bad argument #1 to 'get' (seconds expected, got string)"
"TypeError: bad argument #2 to 'put' (priority expected, got nil)"
True
'Closed: the lifo queue is closed'
'priorities cannot be compared: attempt to compare string with number']],
            moonlet.run(namespace.main)
        )
    end)
end)
