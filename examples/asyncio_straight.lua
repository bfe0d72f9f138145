-- An asyncio library used in straight lines: several Lua tasks at once, one of Python, none of them
-- coloured. depot.py next to this file is the library: a server and a client, as one finds many.
--
--     moonlet asyncio_straight.lua
--
-- moonlet.await runs a coroutine on an event loop of asyncio that is a guest of the scheduler, and
-- suspends the task that calls, from wherever it happens to be: here in the comparison of table.sort.

local moonlet = require "moonlet"
local py = moonlet.python
local await = moonlet.await

local here = arg and arg[0]:match "^(.*)/" or "."
py.import("sys").path:insert(0, here)
local depot = py.import "depot"

local function fill(port, name, amounts)
    local client = depot.Client("127.0.0.1", port)
    await(client:connect())
    for _, amount in ipairs(amounts) do
        await(client:put(name, amount))
    end
    local total = await(client:get(name))
    await(client:close())
    return total
end

local function main()
    local server = depot.Server { wood = 0, stone = 0, grain = 0 }
    local port = await(server:start())

    -- Each is a task; they talk to the server at the same time.
    local tasks = {
        moonlet.spawn(fill, port, "wood", { 1, 2, 3 }),
        moonlet.spawn(fill, port, "stone", { 10, 20 }),
        moonlet.spawn(fill, port, "grain", { 4 }),
    }
    for _, task in ipairs(tasks) do
        print("a task has filled " .. task:join())
    end

    local client = depot.Client("127.0.0.1", port)
    await(client:connect())

    local names = { "wood", "grain", "stone" }
    table.sort(names, function(a, b)
        return await(client:get(a)) < await(client:get(b)) -- asks the server
    end)
    print("from the least to the most: " .. table.concat(names, ", "))

    -- An error of the library is an error here.
    local ok, err = pcall(await, client:get "gold")
    print(ok, err)

    -- A deadline, for what has none itself.
    local in_time = moonlet.move_on_after(0.05, await, client:wait_for("wood", 1000))
    print("waited long enough for wood: " .. tostring(in_time))

    -- Two at once, and whoever comes last wins nothing.
    local waiting = moonlet.spawn(await, client:wait_for("wood", 7))
    moonlet.sleep(0.01)
    fill(port, "wood", { 5 })
    print("wood is now " .. waiting:join())

    -- The other way: coroutines await tasks. The library calls our function, which waits as it likes.
    local sum = await(depot.total(moonlet.spawn(fill, port, "stone", { 1 }), moonlet.spawn(fill, port, "grain", { 1 })))
    print("the tasks have counted " .. sum)

    await(client:close())
    await(server:close())
end

moonlet.run(main)
