-- What tasks do: moonlet.tasks, dump, stats, and the stacks of what is suspended.

local moonlet = require "moonlet"
local support = require "spec.support"
local native = require "moonlet.native"
local py = moonlet.python

local function find(list, name)
    for _, node in ipairs(list) do
        local found = node.name == name and node or find(node.children, name)
        if found then
            return found
        end
    end
end

local function sleeper(seconds)
    return function()
        moonlet.sleep(seconds)
        return 1
    end
end

describe("moonlet.tasks", function()
    it("has each task with its name, status, time and what it waits for", function()
        moonlet.run(function()
            local t = moonlet.spawn(sleeper(0.01))
            t.name = "sleeper"
            local node = find(moonlet.tasks(), "sleeper")
            assert.same({ "task", "new", 0 }, { node.kind, node.status, node.used })
            assert.equal(t, node.task)
            assert.is_nil(node.waits)
            moonlet.sleep()
            node = find(moonlet.tasks(), "sleeper")
            assert.same({ "waiting", "sleep" }, { node.status, node.waits })
            assert.is_true(node.since >= 0 and node.used > 0)
            t:join()
            assert.is_nil(find(moonlet.tasks(), "sleeper"))
        end)
    end)

    it("tells what a task waits for", function()
        moonlet.run(function()
            local t = moonlet.spawn(sleeper(0.01))
            t.name = "sleeper"
            local joiner = moonlet.spawn(function()
                t:join()
            end)
            joiner.name = "joiner"
            local any = moonlet.spawn(function()
                moonlet.wait_any { t, joiner }
            end)
            any.name = "any"
            moonlet.sleep()
            local list = moonlet.tasks()
            assert.equal("join on task: sleeper, waiting", find(list, "joiner").waits)
            assert.equal("wait_any on task: sleeper, waiting, task: joiner, waiting", find(list, "any").waits)
        end)
    end)

    it("shows who runs", function()
        moonlet.run(function()
            moonlet.current_task().name = "me"
            local node = find(moonlet.tasks(), "me")
            assert.equal("running", node.status)
        end)
    end)

    it("is a tree by nurseries, as text too", function()
        moonlet.run(function()
            moonlet.current_task().name = "me"
            moonlet.nursery(function(n)
                local child = n:spawn(sleeper(0.01))
                child.name = "child"
                moonlet.cancel_scope(function()
                    moonlet.nursery(function(inner)
                        inner:spawn(sleeper(0.01)).name = "grandchild"
                        moonlet.sleep()
                        local node = find(moonlet.tasks(), "me")
                        local text = tostring(node):gsub("[%d.]+ s", "N s") .. ""
                        assert.equal(table.concat({
                            "me: running, used N s",
                            "  nursery: open",
                            "    child: waiting, used N s, waits for N s: sleep",
                            "    nursery: open",
                            "      grandchild: waiting, used N s, waits for N s: sleep",
                        }, "\n"), text)
                    end)
                end)
            end)
        end)
    end)

    it("survives what an object makes of tostring", function()
        moonlet.run(function()
            local hub = require "moonlet.hub"
            local object = setmetatable({}, { __tostring = function() error "no" end })
            local t = moonlet.spawn(function()
                hub.wait({ task = hub.self(), what = "odd", on = object }, 0.01)
            end)
            t.name = "odd"
            moonlet.sleep()
            assert.equal("odd on ?", find(moonlet.tasks(), "odd").waits)
            local waiter = setmetatable({}, { __tostring = function() moonlet.sleep(1) return "slept" end })
            local u = moonlet.spawn(function()
                hub.wait({ task = hub.self(), what = "odd", on = waiter }, 0.01)
            end)
            u.name = "odder"
            moonlet.sleep()
            assert.equal("odd on ?", find(moonlet.tasks(), "odder").waits)
        end)
    end)

    it("counts the time that a task runs", function()
        moonlet.run(function()
            local t = moonlet.spawn(function()
                support.work()
                moonlet.sleep(0.001)
                return 1
            end)
            t.name = "worker"
            moonlet.sleep()
            assert.is_true(find(moonlet.tasks(), "worker").used > 0.0005)
        end)
    end)
end)

describe("moonlet.dump", function()
    local function dump()
        local pieces = {}
        moonlet.dump { write = function(_, text) pieces[#pieces + 1] = text end }
        return table.concat(pieces)
    end

    it("writes all tasks with their stacks", function()
        local namespace = support.python [[
            import moonlet
            def nap():
                moonlet.sleep(0.01)
        ]]
        moonlet.run(function()
            moonlet.current_task().name = "me"
            moonlet.spawn(namespace.nap).name = "in Python"
            moonlet.spawn(sleeper(0.01)).name = "in Lua"
            moonlet.spawn(sleeper(0.01)).name = "through"
            moonlet.sleep()
            local text = dump():gsub(":%d+:", ":N:"):gsub("[%d.]+ s", "N s")
            assert.matches("in Python: waiting, used N s, waits for N s: sleep\n"
                .. "\t<python at [^\n]*>:N: in Python function 'nap'\n", text)
            assert.matches("in Lua: waiting, used N s, waits for N s: sleep\n"
                .. "\t[^\n]*inspect_spec.lua:N: in function", text)
            assert.matches("me: running, used N s\n[^\n]*", text)
        end)
    end)

    it("writes the stack of who calls it outside of tasks", function()
        local output, status = support.child [[
            local moonlet = require "moonlet"
            local function f() moonlet.dump(io.stdout) return 1 end
            f()
        ]]
        assert.matches("^main: running\n\tSCRIPT:2: in local 'f'\n\tSCRIPT:3: in main chunk\n", output)
        assert.equal(0, status)
    end)

    it("writes to stderr by default, to a file of Lua or Python", function()
        local output = support.child [[
            local moonlet = require "moonlet"
            moonlet.dump()
            local file = moonlet.python.import("io").StringIO()
            moonlet.dump(file)
            print(#file.getvalue() > 0)
        ]]
        assert.matches("^main: running\n", output)
        assert.matches("true\n$", output)
    end)

    it("refuses what is no file", function()
        assert.equal("bad argument #1 to 'dump' (file expected, got number)", support.message(moonlet.dump, 1))
        assert.equal("bad argument #1 to 'dump' (file expected, got table)", support.message(moonlet.dump, {}))
    end)
end)

describe("the stack of a greenlet", function()
    it("is empty before its start and after its end", function()
        local g = moonlet.greenlet(function() end)
        assert.equal("", native.stack_of(g))
        g:switch()
        assert.equal("", native.stack_of(g))
    end)

    it("is there while it is suspended, in any depth of both languages", function()
        local namespace = support.python "def call(f, *args): return f(*args)"
        local function go(n)
            if n == 0 then
                support.pause()
            else
                namespace.call(go, n - 1)
            end
            return 1
        end
        local all = {}
        for i = 1, 20 do
            all[i] = moonlet.greenlet(go)
            all[i]:switch(i)
        end
        for i = 1, 20 do
            local count = select(2, native.stack_of(all[i]):gsub("Python function 'call'", ""))
            assert.equal(math.min(i, 20), count)
            all[i]:switch()
        end
    end)
end)

describe("moonlet.stats", function()
    it("counts tasks and timers", function()
        moonlet.run(function()
            local before = moonlet.stats()
            local tasks = {}
            for i = 1, 10 do
                tasks[i] = moonlet.spawn(sleeper(0.01))
            end
            local now = moonlet.stats()
            assert.equal(before.tasks + 10, now.tasks)
            assert.equal(before.spawned + 10, now.spawned)
            assert.equal(before.ready + 10, now.ready)
            moonlet.sleep()
            now = moonlet.stats()
            assert.equal(before.timers + 10, now.timers)
            assert.equal(0, now.ready)
            moonlet.wait_all(tasks)
            assert.equal(before.tasks, moonlet.stats().tasks)
        end)
    end)

    it("shows that a program that has nothing to do does not wake up", function()
        moonlet.run(function()
            for _ = 1, 100 do
                moonlet.spawn(sleeper(0.2)).daemon = true
            end
            moonlet.sleep(0.001)
            local before = moonlet.stats().waits
            moonlet.sleep(0.1)
            assert.is_true(moonlet.stats().waits - before <= 2)
        end)
    end)
end)

describe("in Python", function()
    it("the same functions are there", function()
        local result = support.python [[
            import io
            import moonlet

            def main():
                file = io.StringIO()
                t = moonlet.spawn(moonlet.sleep, 0.01)
                moonlet.sleep()
                moonlet.dump(file=file)
                stats = moonlet.stats()
                return file.getvalue(), str(moonlet.tasks()), stats["timers"] >= 1, type(stats).__name__
        ]]
        local dump, tree, timers, kind = moonlet.run(result.main)
        assert.matches("waits for [%d.]+ s: sleep", dump)
        assert.matches("in Python function 'main'", dump)
        assert.matches("waits for [%d.]+ s: sleep", tree)
        assert.same({ true, "dict" }, { timers, kind })
    end)

    it("wrong use raises TypeError", function()
        assert.matches("TypeError: bad argument #1 to 'dump'", support.message(py.eval "__import__('moonlet').dump", 1))
    end)
end)
