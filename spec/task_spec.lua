-- Tasks: spawn, join, results, errors, links, priorities, the order in which they run.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python

local run, spawn, sleep = moonlet.run, moonlet.spawn, moonlet.sleep

--- What is reported while f runs as the main task: a list of texts.
local function reports(f)
    local list = {}
    local before = moonlet.on_error(function(text, err)
        list[#list + 1] = text .. ": " .. tostring(err):gsub("^.-%.lua:%d+: ", "")
    end)
    local ok, err = pcall(run, f)
    moonlet.on_error(before)
    assert(ok, err)
    return list
end

describe("moonlet.run", function()
    it("returns what the main function returns, given its arguments", function()
        assert.same({ 3, nil, "x" }, { run(function(...) return select("#", ...), nil, "x" end, 1, nil, nil) })
        assert.same({}, { run(function() end) })
        assert.equal(6, run(py.builtins.sum, py.list { 1, 2, 3 }))
        assert.same({ 1, 2 }, { run(py.eval "lambda: (1, 2)") })
    end)

    it("raises the error of the main function, as it is", function()
        local value = {}
        assert.equal(value, support.error_of(run, function() error(value) end))
        local err = support.error_of(run, py.eval "lambda: {}['key']")
        assert.is_true(py.isinstance(err, py.builtins.KeyError))
    end)

    it("waits for the tasks that the main function has spawned", function()
        local done = {}
        run(function()
            spawn(function()
                sleep(0.001)
                spawn(function()
                    sleep(0.001)
                    done[1] = true
                end)
            end)
        end)
        assert.is_true(done[1])
    end)

    it("cancels the others when the main function fails", function()
        local ended
        local err = support.message(run, function()
            spawn(function()
                local _ <close> = setmetatable({}, { __close = function() ended = true end })
                sleep(1000)
            end)
            sleep(0)
            error "main"
        end)
        assert.equal("main", err)
        assert.is_true(ended)
    end)

    it("cancels daemons when all others have ended", function()
        local n = 0
        run(function()
            local t = spawn(function()
                while true do
                    n = n + 1
                    sleep(0.0005)
                end
            end)
            t.daemon = true
            assert.is_true(t.daemon)
            sleep(0.003)
        end)
        assert.is_true(n > 1)
    end)

    it("runs once at a time, again and again", function()
        run(function()
            assert.equal("moonlet.run() is running already: use moonlet.spawn, or a nursery",
                support.message(run, print))
        end)
        assert.equal(1, run(function() return 1 end))
    end)

    it("says what is wrong with its argument", function()
        local text = "bad argument #1 to 'run' (function or Python callable expected, got %s)"
        assert.equal(text:format "nil", support.message(function() run() end))
        assert.equal(text:format "number", support.message(function() run(1) end))
        assert.equal(text:format "moonlet.python object", support.message(function() run(py.list { 1 }) end)
            :gsub("got [^)]*", "got moonlet.python object"))
        local _, err = pcall(function() run(1) end)
        assert.matches("^spec/task_spec.lua:%d+: bad argument", err)
    end)
end)

describe("spawn and join", function()
    it("pass arguments and results of any number and kind", function()
        run(function()
            local t = spawn(function(...) return select("#", ...), ... end, nil, false, nil)
            assert.same({ 3, nil, false, nil, n = 4 }, table.pack(t:join()))
            assert.same({ n = 1 }, table.pack(spawn(function() end):join()))
            assert.same({ "a\xff\0b", n = 1 }, table.pack(spawn(py.eval "lambda: b'a\\xff\\x00b'"):join()))
            assert.same({ 1, nil, n = 2 }, table.pack(spawn(py.eval "lambda: (1, None)"):join()))
            local list = py.list { 1 }
            assert.equal(list, spawn(function() return list end):join())
        end)
    end)

    it("start tasks in their order, when the current one waits", function()
        local order = {}
        run(function()
            for i = 1, 5 do
                spawn(function() order[#order + 1] = i end)
            end
            assert.same({}, order)
            sleep(0)
            assert.same({ 1, 2, 3, 4, 5 }, order)
        end)
    end)

    it("raise the error in everybody who joins", function()
        run(function()
            local value = {}
            local t = spawn(function() error(value) end)
            local other = spawn(function() return pcall(t.join, t) end)
            assert.equal(value, support.error_of(t.join, t))
            assert.equal(value, support.error_of(t.join, t))
            assert.same({ false, value }, { other:join() })
            assert.equal("failed", t.status)
            assert.equal(value, t.error)
            assert.is_nil(t.result)
        end)
    end)

    it("have time-outs", function()
        local clock <close> = moonlet.virtual_clock()
        run(function()
            local t = spawn(function()
                sleep(10)
                return "late"
            end)
            local err = support.error_of(t.join, t, 2)
            assert.is_true(py.isinstance(err, py.builtins.TimeoutError))
            assert.matches("has not ended within 2 seconds", tostring(err))
            assert.is_false(t:wait(3))
            assert.is_false(t:wait(0))
            assert.is_true(t:wait(6))
            assert.equal("late", t:join(0))
        end)
        assert.is_true(clock:now() >= 10)
    end)

    it("do not let a task join itself", function()
        run(function()
            local t
            t = spawn(function() t:join() end)
            t.name = "snake"
            assert.matches("snake cannot join itself", support.message(t.join, t))
        end)
    end)

    it("say what is wrong with their arguments", function()
        run(function()
            local t = spawn(function() end)
            assert.equal("bad argument #1 to 'spawn' (function or Python callable expected, got table)",
                support.message(function() spawn {} end))
            assert.equal("bad argument #1 to 'join' (seconds expected, got string)",
                support.message(function() t:join "1" end))
            assert.equal("bad argument #1 to 'join' (seconds expected that are not negative, got -1)",
                support.message(function() t:join(-1) end))
            assert.equal("bad argument #1 to 'join' (task expected, got table)",
                support.message(function() t.join {} end))
            assert.equal("bad argument #1 to 'spawn_later' (seconds expected that are not negative, got nan)",
                support.message(function() moonlet.spawn_later(0 / 0, print) end):gsub("%-nan", "nan"))
            assert.equal("bad argument #2 to 'spawn_later' (function or Python callable expected, got nil)",
                support.message(function() moonlet.spawn_later(1) end))
        end)
    end)
end)

describe("a task", function()
    it("tells its status", function()
        run(function()
            local t
            t = spawn(function()
                assert.equal("running", t.status)
                sleep(0.001)
            end)
            assert.same({ "new", false }, { t.status, t.ended })
            sleep(0)
            assert.equal("waiting", t.status)
            t:join()
            assert.same({ "done", true }, { t.status, t.ended })
            assert.equal("running", moonlet.current_task().status)
        end)
    end)

    it("has a name, which is its number and what it runs until it gets another", function()
        run(function()
            local t = spawn(function() end)
            assert.matches("^task %d+ %(spec/task_spec.lua:%d+%)$", t.name)
            assert.matches("^task %d+ %(len%)$", spawn(py.builtins.len, "x").name)
            t.name = "worker"
            assert.equal("worker", t.name)
            assert.equal("task: worker, new", tostring(t))
            assert.equal("main", moonlet.current_task().name)
        end)
    end)

    it("has a table of its own", function()
        run(function()
            local function body(x)
                moonlet.current_task().locals.x = x
                sleep(0)
                return moonlet.current_task().locals.x
            end
            local a, b = spawn(body, 1), spawn(body, 2)
            assert.same({ 1, 2 }, { a:join(), b:join() })
            assert.equal(1, a.locals.x)
        end)
    end)

    it("does not let what it tells be set", function()
        run(function()
            local t = spawn(function() end)
            for _, name in ipairs { "status", "result", "error", "ended", "join", "cancel" } do
                assert.equal(("cannot set '%s' of a task"):format(name), support.message(function() t[name] = 1 end))
            end
            assert.equal("bad value for 'priority' (integer expected, got number)",
                support.message(function() t.priority = 0.5 end))
        end)
    end)

    it("inherits the context variables of who has spawned it", function()
        local namespace = support.python [[
            import contextvars
            var = contextvars.ContextVar("var", default="unset")
            def body(value):
                before = var.get()
                var.set(value)
                return before
            get, set = var.get, var.set
        ]]
        run(function()
            namespace.set "mine"
            local t = spawn(namespace.body, "theirs")
            assert.equal("mine", t:join())
            assert.equal("mine", namespace.get())
            assert.equal("mine", spawn(namespace.get):join())
        end)
        assert.equal("unset", namespace.get())
    end)

    it("can be a greenlet's work, too, that waits", function()
        run(function()
            local g = moonlet.greenlet(function(x)
                sleep(0.001)
                return x + 1
            end)
            assert.equal(3, g:switch(2))
        end)
    end)
end)

describe("an error that nobody joins", function()
    it("is reported once", function()
        local list = reports(function()
            spawn(function() error "lost" end).name = "a"
            spawn(py.eval "lambda: 1 / 0").name = "b"
            sleep(0.001)
            sleep(0.001)
        end)
        assert.same({
            "error in a, which nobody has joined: lost",
            "error in b, which nobody has joined: ZeroDivisionError: division by zero",
        }, list)
    end)

    it("is not reported if somebody joins, before or after", function()
        local list = reports(function()
            local t = spawn(function() error "x" end)
            pcall(t.join, t)
            local u = spawn(function() error "y" end)
            u:wait()
            sleep(0.001)
            pcall(u.join, u)
            local v = spawn(function() error "z" end)
            v:wait()
            assert.matches("z", v.error)
        end)
        assert.same({}, list)
    end)

    it("is written to stderr with its own traceback", function()
        local output = support.child [[
            local moonlet = require "moonlet"
            local function inner() error "boom" end
            moonlet.run(function()
                moonlet.spawn(function() inner() end)
            end)
            print "goes on"
        ]]
        assert.matches("error in task %d+ %(SCRIPT:4%), which nobody has joined:", output)
        assert.matches("SCRIPT\", line 2, in inner", output)
        assert.matches("SCRIPT:2: boom", output)
        assert.matches("goes on", output)
    end)

    it("is the program's if it is SystemExit or KeyboardInterrupt", function()
        for _, name in ipairs { "SystemExit", "KeyboardInterrupt" } do
            local body = py.eval("lambda E: (_ for _ in ()).throw(E)")
            local err = support.error_of(run, function()
                spawn(body, py.builtins[name])
                sleep(1000)
            end)
            assert.is_true(py.isinstance(err, py.builtins[name]), name)
        end
        local _, status = support.child [[
            local moonlet = require "moonlet"
            moonlet.run(function()
                moonlet.spawn(moonlet.python.import("sys").exit, 7)
                moonlet.sleep(1000)
            end)
        ]]
        assert.equal(support.lua == "lua5.4" and 1 or 7, status)
    end)

    it("that is the program's leaves other tasks as they are", function()
        local output = support.child [[
            local moonlet = require "moonlet"
            local e = moonlet.event()
            local t = moonlet.spawn(function() e:wait() return "t" end)
            moonlet.spawn(moonlet.python.import("sys").exit, 3)
            print(pcall(function() while true do moonlet.sleep(0) end end))
            e:set()
            print(pcall(t.join, t)) -- ends while the hub is where it has raised the error
        ]]
        assert.equal("false\tSystemExit: 3\ntrue\tt\n", output)
    end)

    it("of the handler is written, too", function()
        local output = support.child [[
            local moonlet = require "moonlet"
            moonlet.on_error(function() error "worse" end)
            moonlet.run(function() moonlet.spawn(function() error "bad" end) end)
        ]]
        assert.matches("SCRIPT:3: bad", output)
        assert.matches("error in the handler of on_error: .*worse", output)
    end)
end)

describe("links", function()
    it("are called when the task has ended, by how", function()
        local calls = {}
        local function note(name)
            return function(t) calls[#calls + 1] = name .. " " .. t.name .. " " .. t.status end
        end
        run(function()
            local a = spawn(function() end)
            local b = spawn(function() error "x" end)
            a.name, b.name = "a", "b"
            for _, t in ipairs { a, b } do
                t:link(note "any"):link_success(note "success"):link_failure(note "failure")
            end
            sleep(0.001)
            a:link(note "late")
        end)
        assert.same({ "any a done", "success a done", "any b failed", "failure b failed", "late a done" }, calls)
    end)

    it("report their own errors", function()
        local list = reports(function()
            local t = spawn(function() end)
            t.name = "t"
            t:link(function() error "in link" end)
            t:link(function() sleep(1) end)
            t:join()
        end)
        assert.equal("error in a link of t: in link", list[1])
        assert.equal("error in a link of t: a callback of the scheduler cannot wait: spawn a task there", list[2])
        assert.equal(2, #list)
    end)

    it("say what is wrong with their arguments", function()
        run(function()
            local t = spawn(function() end)
            assert.equal("bad argument #2 to 'link' ('success', 'failure' or 'any' expected, got 'x')",
                support.message(function() t:link(print, "x") end))
            assert.equal("bad argument #1 to 'link' (function or Python callable expected, got nil)",
                support.message(function() t:link() end))
        end)
    end)
end)

describe("the order", function()
    it("is first come, first served, round by round", function()
        local order = {}
        run(function()
            for i = 1, 3 do
                spawn(function()
                    for round = 1, 3 do
                        order[#order + 1] = round .. "." .. i
                        sleep(0)
                    end
                end)
            end
        end)
        assert.equal("1.1 1.2 1.3 2.1 2.2 2.3 3.1 3.2 3.3", table.concat(order, " "))
    end)

    it("of a round is by priority, and nobody starves", function()
        local order = {}
        run(function()
            for i, priority in ipairs { 0, -1, 5, 5, 0 } do
                local t = spawn(function()
                    for round = 1, 2 do
                        order[#order + 1] = round .. "." .. i
                        sleep(0)
                    end
                end)
                t.priority = priority
                assert.equal(priority, t.priority)
            end
        end)
        assert.equal("1.3 1.4 1.1 1.5 1.2 2.3 2.4 2.1 2.5 2.2", table.concat(order, " "))
    end)

    it("lets those who wait have a turn although others never have to wait", function()
        run(function()
            local done = spawn(function() end)
            done:join()
            local turns = 0
            local other = spawn(function()
                while true do
                    turns = turns + 1
                    sleep(0)
                end
            end)
            for _ = 1, 1000 do
                done:join() -- returns at once
            end
            other:cancel()
            assert.is_true(turns >= 7, turns)
        end)
    end)
end)

describe("several tasks at once", function()
    it("are waited for until all have ended, or one", function()
        local clock <close> = moonlet.virtual_clock()
        run(function()
            local a = spawn(sleep, 3)
            local b = spawn(sleep, 1)
            local c = spawn(function()
                sleep(2)
                error "c"
            end)
            local tasks = { a, b, c }
            assert.is_false(moonlet.wait_all(tasks, 0.5))
            assert.is_true(b == moonlet.wait_any(tasks))
            assert.is_true(b == moonlet.wait_any(tasks))
            assert.is_true(c == moonlet.wait_any { a, c })
            assert.is_true(nil == moonlet.wait_any({ a }, 0.5))
            assert.is_true(moonlet.wait_all(tasks))
            assert.matches("c", support.message(c.join, c))
            assert.is_true(moonlet.wait_all {})
            assert.is_nil(moonlet.wait_any {})
            assert.equal("bad argument #1 to 'wait_all' (a task expected at 2, got number)",
                support.message(function() moonlet.wait_all { a, 2 } end))
            assert.equal("bad argument #1 to 'wait_any' (table of tasks expected, got task)",
                support.message(function() moonlet.wait_any(a) end))
        end)
        assert.is_true(clock:now() >= 3)
    end)
end)

describe("moonlet.defer", function()
    it("calls a function soon, which cannot wait", function()
        local order = {}
        local list = reports(function()
            moonlet.defer(function(...) order[#order + 1] = table.concat({ ... }, ",") end, 1, 2)
            moonlet.defer(function() sleep(1) end)
            order[#order + 1] = "main"
            sleep(0.001)
            order[#order + 1] = "after"
        end)
        assert.same({ "main", "1,2", "after" }, order)
        assert.same({ "error in a deferred call: a callback of the scheduler cannot wait: spawn a task there" }, list)
    end)
end)

describe("a task that is ready", function()
    local prelude = [[
        local moonlet = require "moonlet"
        local main = moonlet.current()
        local ns = moonlet.python.builtins.dict()
        moonlet.python.exec("import greenlet, moonlet\n"
            .. "def body(f, seconds):\n"
            .. "    f(greenlet.getcurrent())\n"
            .. "    moonlet.sleep(seconds)\n"
            .. "    f(None)\n", ns)
        local function lua_body(f, seconds)
            f(moonlet.current())
            moonlet.sleep(seconds)
            f(nil)
        end
        local function count_to(n) for i = 1, n do moonlet.sleep(0) end return n end
    ]]

    it("may be ended by an error that somebody throws into it", function()
        local output = support.child(prelude .. [[
            for _, body in ipairs { lua_body, ns.body } do
                local g
                local t = moonlet.spawn(body, function(now) g = now end, 0)
                local others = { moonlet.spawn(count_to, 3), moonlet.spawn(count_to, 4) }
                moonlet.sleep(0)
                local name = t.status
                print(name, (tostring(select(2, pcall(g.throw, g, "boom"))):gsub("\n.*", "")))
                print(t.status, tostring(t.error):match("boom"), others[1]:join() + others[2]:join())
            end
        ]])
        local once = "ready\tmoonlet.Deadlock: deadlock: nothing can ever run again\nfailed\tboom\t7\n"
        assert.equal(once:rep(2), output)
    end)

    it("runs once, whoever switches to it", function()
        local output = support.child(prelude .. [[
            for _, body in ipairs { lua_body, ns.body } do
                local g
                local function note(now)
                    if now then
                        g = now
                    else
                        main:switch "here"
                        print "is not reached"
                    end
                end
                local t = moonlet.spawn(body, note, 0)
                local other = moonlet.spawn(count_to, 3)
                moonlet.sleep(0)
                print(g:switch())
                print(other:join(), t.ended)
            end
        ]])
        assert.equal("here\n3\tfalse\nhere\n3\tfalse\n", output)
    end)
end)

describe("many tasks", function()
    it("of both languages wait and end", function()
        local n = support.scaled(20000)
        local body = support.python([[
            import moonlet
            def body(i):
                moonlet.sleep(0)
                moonlet.sleep(0.0001 * (i % 10))
                return i
        ]]).body
        local sum = run(function()
            local tasks = {}
            for i = 1, n do
                tasks[i] = spawn(i % 2 == 0 and body or function(x)
                    sleep(0)
                    return x
                end, i)
            end
            local total = 0
            for i = 1, n do
                total = total + tasks[i]:join()
            end
            return total
        end)
        assert.equal(n * (n + 1) // 2, sum)
    end)
end)
