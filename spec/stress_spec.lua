-- Random programs over channels, select, queues, locks and pools, with cancels and timeouts at any time: no
-- value is lost or doubled, and whatever was taken is given back.

local moonlet = require "moonlet"
local support = require "spec.support"

local ROUNDS = 60

--- Calls f(random) as the main task, again and again with other random numbers. random(n): 1 to n.
local function with_seeds(f)
    return function()
        for seed = 1, support.scaled(ROUNDS) do
            local state = seed
            local function random(n)
                state = (state * 1103515245 + 12345) & 0x7fffffff
                return (state >> 8) % n + 1
            end
            local clock <close> = moonlet.virtual_clock()
            local ok, err = pcall(moonlet.run, f, random)
            assert(ok, ("seed %d: %s"):format(seed, tostring(err)))
            clock:now()
        end
    end
end

--- Sleeps, or yields, or does nothing.
local function dawdle(random)
    local what = random(4)
    if what == 1 then
        moonlet.sleep(random(10) / 1000)
    elseif what == 2 then
        moonlet.sleep()
    end
end

local function is(err, class)
    return moonlet.python.isinstance(err, class)
end

local TimeoutError = moonlet.python.builtins.TimeoutError

--- Calls f(...); false if it timed out. Other errors are raised.
local function in_time(f, ...)
    local ok, err = pcall(f, ...)
    if not ok and not is(err, TimeoutError) then
        error(err, 0)
    end
    return ok, err
end

--- Cancels some of the tasks now and then, until all have ended.
local function harass(tasks, random, share)
    local left = true
    while left do
        left = false
        for _, task in ipairs(tasks) do
            if not task.ended then
                left = true
                if random(share) == 1 then
                    task:cancel()
                end
            end
        end
        moonlet.sleep(random(5) / 1000)
    end
end

describe("a random program", function()
    -- Each value is sent by one task; a sender that was cancelled or timed out has not sent its value.
    it("over channels receives what was sent, once", with_seeds(function(random)
        local channels = { moonlet.channel(), moonlet.channel(2), moonlet.channel(math.huge) }
        local sent, received, senders, receivers = {}, {}, {}, {}
        local count = 0
        for i = 1, 6 do
            senders[i] = moonlet.spawn(function()
                for _ = 1, 10 do
                    count = count + 1
                    local value = count
                    local ch = channels[random(3)]
                    local ok
                    if random(3) == 1 then
                        local other = channels[random(3)]
                        ok = moonlet.select {
                            ch:on_send(value),
                            other:on_send(value),
                            timeout = random(20) / 1000,
                        } ~= "timeout"
                    else
                        ok = in_time(ch.send, ch, value, random(2) == 1 and random(20) / 1000 or nil)
                    end
                    sent[value] = ok or nil
                    dawdle(random)
                end
            end)
            receivers[i] = moonlet.spawn(function()
                while true do
                    local value
                    if random(2) == 1 then
                        local index
                        index, value = moonlet.select {
                            channels[1],
                            channels[2],
                            channels[3],
                            timeout = random(20) / 1000,
                        }
                        if index == "timeout" then
                            value = nil
                        end
                    else
                        local ok
                        local ch = channels[random(3)]
                        ok, value = in_time(ch.receive, ch, random(20) / 1000)
                        value = ok and value or nil
                    end
                    if value then
                        received[value] = (received[value] or 0) + 1
                    end
                    dawdle(random)
                end
            end)
        end
        local all = {}
        table.move(receivers, 1, 3, 1, all)
        table.move(senders, 1, 2, 4, all)
        local cruel = moonlet.spawn(harass, all, random, 20)
        for i = 3, 6 do
            senders[i]:wait()
        end
        cruel:cancel()
        for _, task in ipairs(senders) do
            task:cancel()
            task:wait()
        end
        for _, task in ipairs(receivers) do
            task:cancel()
            task:wait()
        end
        for _, ch in ipairs(channels) do
            ch:close()
            for value in ch do
                received[value] = (received[value] or 0) + 1
            end
        end
        -- One that was sent, but whose sender was cancelled right then, may have been received, too.
        for value in pairs(sent) do
            assert.equal(1, received[value])
        end
        for _, times in pairs(received) do
            assert.equal(1, times)
        end
    end))

    it("over queues gets what was put, once, and is done", with_seeds(function(random)
        local kinds = { moonlet.queue, moonlet.lifo_queue, moonlet.priority_queue }
        local q = kinds[random(3)](random(4) - 1)
        local put, got, workers, producers = {}, {}, {}, {}
        local function work()
            while true do
                local ok, item = in_time(q.get, q, random(30) / 1000)
                if ok then
                    got[item] = (got[item] or 0) + 1
                    q:task_done()
                end
                dawdle(random)
            end
        end
        for i = 1, 5 do
            workers[i] = moonlet.spawn(work)
            producers[i] = moonlet.spawn(function()
                for j = 1, 10 do
                    dawdle(random)
                    local item = i * 100 + j
                    if in_time(q.put, q, item) then
                        put[item] = true
                    end
                end
            end)
        end
        local all = { workers[1], workers[2], producers[1], producers[2] }
        local cruel = moonlet.spawn(harass, all, random, 15)
        moonlet.wait_all(producers)
        q:join()
        cruel:cancel()
        assert.equal(0, q.unfinished)
        for _, worker in ipairs(workers) do
            worker:cancel()
        end
        for item in pairs(put) do
            assert.equal(1, got[item])
        end
        for _, times in pairs(got) do
            assert.equal(1, times)
        end
    end))

    it("over locks, conditions, semaphores and limiters frees all of them", with_seeds(function(random)
        local lock, semaphore, limiter = moonlet.lock(), moonlet.semaphore(2, 2), moonlet.capacity_limiter(2)
        local condition = moonlet.condition()
        local inside = { [lock] = 0, [semaphore] = 0, [limiter] = 0, [condition] = 0 }
        local most = { [lock] = 1, [semaphore] = 2, [limiter] = 2, [condition] = 1 }
        local all = { lock, semaphore, limiter, condition }
        local function body()
            for _ = 1, 10 do
                local object = all[random(4)]
                in_time(function()
                    local _ <close> = object:hold(random(2) == 1 and random(30) / 1000 or nil)
                    inside[object] = inside[object] + 1
                    local _ <close> = setmetatable({}, {
                        __close = function()
                            inside[object] = inside[object] - 1
                        end,
                    })
                    assert.is_true(inside[object] <= most[object])
                    if object == condition then
                        inside[object] = inside[object] - 1
                        local _ <close> = setmetatable({}, {
                            __close = function()
                                inside[object] = inside[object] + 1
                            end,
                        })
                        condition:notify()
                        condition:wait(random(10) / 1000)
                    else
                        dawdle(random)
                    end
                end)
                dawdle(random)
            end
        end
        local tasks = {}
        for i = 1, 12 do
            tasks[i] = moonlet.spawn(body)
        end
        harass(tasks, random, 25)
        for _, task in ipairs(tasks) do
            assert.is_not_equal("failed", task.status)
        end
        assert.same({ false, 2, 2, false }, {
            lock:locked(),
            semaphore.value,
            limiter.available,
            condition:locked(),
        })
        for _, count in pairs(inside) do
            assert.equal(0, count)
        end
    end))

    it("over a pool gives all its places back", with_seeds(function(random)
        local pool = moonlet.pool(random(4), random(3) - 1)
        local tasks = {}
        for i = 1, 6 do
            tasks[i] = moonlet.spawn(function()
                for _ = 1, 4 do
                    local n = random(8)
                    local items = {}
                    for j = 1, n do
                        items[j] = j
                    end
                    local function f(j)
                        dawdle(random)
                        return j
                    end
                    local how = random(4)
                    if how == 1 then
                        assert.same(items, pool:map(f, items))
                    elseif how == 2 then
                        local at = 0
                        for j in pool:imap(f, items) do
                            at = at + 1
                            assert.equal(at, j)
                            if random(10) == 1 then
                                break
                            end
                        end
                    elseif how == 3 then
                        local sum = 0
                        for j in pool:imap_unordered(f, items) do
                            sum = sum + j
                        end
                        assert.equal(n * (n + 1) // 2, sum)
                    else
                        pool:spawn(f, 1)
                    end
                end
            end)
        end
        harass(tasks, random, 40)
        pool:join()
        assert.equal(pool.size, pool.free)
        for _, task in ipairs(tasks) do
            assert.is_not_equal("failed", task.status)
        end
    end))

    it("in Python receives what was sent, once and as it was", with_seeds(function(random)
        local namespace = support.python [[
            import moonlet

            def values(base):
                return [(base, 1), b"%d" % (base + 1), "s%d" % (base + 2), base + 3, (base + 4,)]

            def produce(ch, base, sent, random):
                for value in values(base):
                    try:
                        if random(2) == 1:
                            ch.send(value, random(10) / 1000)
                        elif moonlet.select(ch.on_send(value), timeout=random(10) / 1000)[0] == "timeout":
                            continue
                        sent.append(value)
                    except TimeoutError:
                        pass
                    moonlet.sleep(random(3) / 1000)

            def consume(ch, received, random):
                while True:
                    try:
                        if random(2) == 1:
                            received.append(ch.receive(timeout=random(10) / 1000))
                        else:
                            index, value = moonlet.select(ch, moonlet.Channel(), timeout=random(10) / 1000)
                            if index == 0:
                                received.append(value)
                    except TimeoutError:
                        pass
                    moonlet.sleep(random(3) / 1000)

            def rest(ch, received):
                ch.close()
                received.extend(ch)

            def compare(sent, received):
                return set(sent) <= set(received) and len(set(received)) == len(received)
        ]]
        local ch = moonlet.channel(random(3) - 1)
        local sent, received = moonlet.python.builtins.list(), moonlet.python.builtins.list()
        local producers, consumers = {}, {}
        for i = 1, 5 do
            producers[i] = moonlet.spawn(namespace.produce, ch, i * 10, sent, random)
            consumers[i] = moonlet.spawn(namespace.consume, ch, received, random)
        end
        local all = { producers[1], producers[2], consumers[1], consumers[2] }
        local cruel = moonlet.spawn(harass, all, random, 15)
        moonlet.wait_all(producers)
        cruel:cancel()
        for _, task in ipairs(consumers) do
            task:cancel()
            task:wait()
            assert.equal("cancelled", task.status)
        end
        namespace.rest(ch, received)
        assert.is_true(namespace.compare(sent, received))
        for _, task in ipairs(producers) do
            assert.is_not_equal("failed", task.status)
        end
    end))
end)
