-- What the rows of the scheduler measure of Lua tasks. Reads lines `NAME N` from stdin and answers each
-- with the nanoseconds of wall-clock time that one of N operations took.

local moonlet = require "moonlet"
local py = moonlet.python
local now = py.import("time").perf_counter_ns

local M = {}

local function nothing() end

function M.spawn_join(n)
    local spawn, tasks = moonlet.spawn, {}
    local start = now()
    for i = 1, n do
        tasks[i] = spawn(nothing)
    end
    for i = 1, n do
        tasks[i]:join()
    end
    return (now() - start) / n
end

function M.timers(n)
    local spawn, sleep, tasks = moonlet.spawn, moonlet.sleep, {}
    local start = now()
    for i = 1, n do
        tasks[i] = spawn(sleep, (i * 7919 % 1000) / 10000)
    end
    for i = 1, n do
        tasks[i]:join()
    end
    return (now() - start) / n
end

function M.sleep0(n)
    local function sleeper()
        for _ = 1, n // 2 do
            moonlet.sleep(0)
        end
    end
    local start = now()
    moonlet.wait_all { moonlet.spawn(sleeper), moonlet.spawn(sleeper) }
    return (now() - start) / n
end

function M.pingpong(n)
    local there, back = moonlet.channel(), moonlet.channel()
    local start = now()
    moonlet.wait_all {
        moonlet.spawn(function()
            for _ = 1, n do
                back:send(there:receive())
            end
        end),
        moonlet.spawn(function()
            for i = 1, n do
                there:send(i)
                back:receive()
            end
        end),
    }
    return (now() - start) / n
end

function M.echo(n)
    local net, message = moonlet.net, ("x"):rep(64)
    local listener = net.listen("127.0.0.1", 0, n)
    local server = moonlet.spawn(net.serve, listener, function(stream)
        local data = stream:read()
        while data do
            stream:write(data)
            data = stream:read()
        end
        stream:close()
    end)
    local start = now()
    local tasks = {}
    for i = 1, n do
        tasks[i] = moonlet.spawn(function()
            local stream = net.connect("127.0.0.1", listener.port)
            for _ = 1, 10 do
                stream:write(message)
                stream:read_exactly(64)
            end
            stream:close()
        end)
    end
    moonlet.wait_all(tasks)
    local taken = now() - start
    server:cancel()
    listener:close()
    return taken / n
end

for line in io.lines() do
    local name, n = line:match "(%S+) (%d+)"
    print(moonlet.run(M[name], math.tointeger(n)))
    io.flush()
end
