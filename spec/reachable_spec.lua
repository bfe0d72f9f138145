-- Random graphs of objects of both languages: what is not reachable from what is held goes, all else
-- stays.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python

local namespace = support.python [[
    import weakref
    import moonlet

    class Thing:
        pass

    class List(list):
        pass

    watched = {}

    def watch(o, key):
        watched[key] = weakref.ref(o)

    def living():
        return [key for key, r in watched.items() if r() is not None]

    def forget():
        watched.clear()
]]

--- Runs f where nothing of it stays on the stack.
local function apart(f, ...)
    return coroutine.wrap(f)(...)
end

local function weak()
    return setmetatable({}, { __mode = "k" })
end

local private = weak()
local kinds = {
    function() -- a table
        local t = {}
        return t, function(other)
            t[#t + 1] = other
        end
    end,
    function() -- a table with keys
        local t = {}
        return t, function(other)
            t[other] = true
        end
    end,
    function() -- a table with something of its own
        local t = {}
        private[t] = {}
        return t, function(other)
            table.insert(private[t], other)
        end
    end,
    function() -- a closure
        local others = {}
        return function()
            return others
        end, function(other)
            others[#others + 1] = other
        end
    end,
    function() -- a coroutine
        local others = {}
        local co = coroutine.create(function(x)
            coroutine.yield()
            return x
        end)
        coroutine.resume(co, others)
        return co, function(other)
            others[other] = #others
        end
    end,
    function() -- an object
        local thing = namespace.Thing()
        return thing, function(other)
            thing["x" .. math.random(1 << 30)] = other
        end
    end,
    function() -- a list
        local list = namespace.List()
        return list, function(other)
            list:append(other)
        end
    end,
    function() -- a greenlet
        local others = {}
        local g = moonlet.greenlet(function(x)
            support.pause()
            return x
        end)
        g:switch(others)
        return g, function(other)
            others[#others + 1] = other
        end
    end,
}

local function key_of(graph, node)
    return graph * 1000 + node
end

--- Makes a graph, adds what lives to `expected`, and returns what is to be held of it.
local function make(graph, seen, expected)
    local values, adds, edges, held = {}, {}, {}, {}
    local count = math.random(2, 14)
    for i = 1, count do
        values[i], adds[i] = kinds[math.random(#kinds)]()
        edges[i] = {}
        if type(values[i]) == "userdata" then
            namespace.watch(values[i], key_of(graph, i))
        else
            seen[values[i]] = key_of(graph, i)
        end
    end
    for _ = 1, math.random(0, 2 * count) do
        local from, to = math.random(count), math.random(count)
        adds[from](values[to])
        table.insert(edges[from], to)
    end
    local reached = {}
    local function reach(i)
        if not reached[i] then
            reached[i] = true
            expected[key_of(graph, i)] = true
            for _, to in ipairs(edges[i]) do
                reach(to)
            end
        end
    end
    for _ = 1, math.random(0, 2) do
        local root = math.random(count)
        held[#held + 1] = values[root]
        reach(root)
    end
    return held
end

local function living(seen)
    local all = {}
    for _, key in pairs(seen) do
        all[key] = true
    end
    for key in py.iter(namespace.living()) do
        all[key] = true
    end
    return all
end

--- What lives too long, and what is gone too early.
local function compare(expected, seen)
    local now = living(seen)
    local all = {}
    for key in pairs(now) do
        all[#all + 1] = not expected[key] and key .. " lives" or nil
    end
    for key in pairs(expected) do
        all[#all + 1] = not now[key] and key .. " is gone" or nil
    end
    assert.equal("", table.concat(all, ", "))
end

describe("what is reachable", function()
    local collectors = { moonlet.collect, namespace.moonlet.collect }
    for round = 1, support.scaled(50) do
        it("stays, and nothing else, round " .. round, function()
            math.randomseed(round)
            namespace.forget()
            local seen, expected, held = weak(), {}, {}
            local python = py.eval "[]"
            apart(function()
                for graph = 1, 100 do
                    local some = make(graph, seen, expected)
                    if graph % 2 == 0 then
                        table.insert(held, some)
                    else
                        for _, value in ipairs(some) do
                            python:append(value)
                        end
                    end
                end
            end)
            for i = 1, 2 do
                collectors[(round + i) % 2 + 1]()
                collectgarbage()
                compare(expected, seen)
            end
            assert.equal(50, #held)
            held, python = nil, nil -- luacheck: ignore
            moonlet.collect()
            collectgarbage()
            compare({}, seen)
        end)
    end
end)
