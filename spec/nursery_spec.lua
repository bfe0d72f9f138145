-- Nurseries: children never outlive them, the first failure cancels the rest, all errors are kept.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python

local run, sleep, nursery = moonlet.run, moonlet.sleep, moonlet.nursery

--- The errors of a group, as texts, in order.
local function texts(group)
    assert(py.isinstance(group, py.builtins.BaseExceptionGroup), tostring(group))
    local list = {}
    for err in py.iter(group.exceptions) do
        list[#list + 1] = tostring(err):gsub("^.-%.lua:%d+: ", "")
    end
    return list
end

describe("a nursery", function()
    it("waits for its tasks and returns what the block returns", function()
        run(function()
            local ended = 0
            local function child()
                sleep(0.001)
                ended = ended + 1
            end
            local results = table.pack(nursery(function(n, ...)
                for _ = 1, 3 do
                    n:spawn(child)
                end
                n:spawn(function() n:spawn(child) end)
                return ...
            end, "a", nil))
            assert.same({ "a", nil, n = 2 }, results)
            assert.equal(4, ended)
        end)
    end)

    it("cancels the others when one fails, and raises all errors in a group", function()
        run(function()
            local cancelled
            local err = support.error_of(nursery, function(n)
                n:spawn(function()
                    local _ <close> = setmetatable({}, { __close = function() cancelled = true end })
                    sleep(1000)
                end)
                n:spawn(function()
                    sleep(0)
                    error "first"
                end)
                n:spawn(function()
                    sleep(0)
                    py.eval "{}"["second"].x = 1
                end)
                n:spawn(function() error "not started any more" end):wait()
                sleep(1000)
            end)
            assert.is_true(cancelled)
            assert.same({ "not started any more" }, texts(err))
            err = support.error_of(nursery, function(n)
                local function child(text)
                    n:start(function(started) started() end)
                    error(text)
                end
                n:spawn(child, "first")
                n:spawn(child, "second")
            end)
            assert.same({ "first", "second" }, texts(err))
            assert.matches("2 tasks of a nursery have failed", tostring(err))
        end)
    end)

    it("cancels its tasks when the block fails", function()
        run(function()
            local child
            local err = support.error_of(nursery, function(n)
                child = n:spawn(sleep, 1000)
                sleep(0)
                error "block"
            end)
            assert.same({ "block" }, texts(err))
            assert.equal("cancelled", child.status)
        end)
    end)

    it("keeps the identity of errors", function()
        run(function()
            local exception = py.builtins.ValueError "x"
            local value = {}
            local group = support.error_of(nursery, function(n)
                local function child(err)
                    pcall(n.start, n, function(started) started() end)
                    error(err)
                end
                n:spawn(child, exception)
                n:spawn(child, value)
            end)
            assert.equal(exception, group.exceptions[0])
            assert.equal(value, group.exceptions[1].value)
        end)
    end)

    it("can be cancelled, which is no error", function()
        run(function()
            local child
            local results = table.pack(nursery(function(n)
                child = n:spawn(sleep, 1000)
                n:cancel()
                sleep(1000)
                return "not reached"
            end))
            assert.equal(0, results.n)
            assert.equal("cancelled", child.status)
        end)
    end)

    it("ends with the task around it", function()
        run(function()
            local child
            local t = moonlet.spawn(function()
                nursery(function(n)
                    child = n:spawn(sleep, 1000)
                    sleep(1000)
                end)
            end)
            sleep(0)
            t:cancel()
            t:wait()
            assert.same({ "cancelled", "cancelled" }, { t.status, child.status })
        end)
    end)

    it("waits for children that clean up", function()
        local _ <close> = moonlet.virtual_clock()
        run(function()
            local cleaned
            nursery(function(n)
                n:spawn(function()
                    local _ <close> = setmetatable({}, { __close = function()
                        moonlet.shield(sleep, 5)
                        cleaned = true
                    end })
                    sleep(1000)
                end)
                sleep(1)
                n:cancel()
            end)
            assert.is_true(cleaned)
        end)
    end)

    it("nests, and errors go outwards", function()
        run(function()
            local outer_child
            local group = support.error_of(nursery, function(outer)
                outer_child = outer:spawn(sleep, 1000)
                nursery(function(inner)
                    inner:spawn(function()
                        sleep(0)
                        error "deep"
                    end)
                end)
            end)
            assert.same({ "deep" }, texts(group.exceptions[0]))
            assert.equal("cancelled", outer_child.status)
        end)
    end)

    it("has a deadline, as every scope", function()
        local _ <close> = moonlet.virtual_clock()
        run(function()
            local child
            nursery(function(n)
                n.deadline = moonlet.now() + 2
                child = n:spawn(sleep, 1000)
            end)
            assert.equal("cancelled", child.status)
        end)
    end)

    it("does not wait for daemons", function()
        run(function()
            local daemon
            nursery(function(n)
                daemon = n:spawn(sleep, 1000)
                daemon.daemon = true
                n:spawn(sleep, 0.001)
            end)
            assert.equal("cancelled", daemon.status)
        end)
    end)

    it("is closed when its block has ended", function()
        run(function()
            local n = nursery(function(n) return n end)
            assert.equal("the nursery is closed: its block has ended", support.message(n.spawn, n, print))
            assert.equal("nursery: 0 tasks, closed", tostring(n))
            assert.equal("bad argument #1 to 'spawn' (nursery expected, got function)",
                support.message(function() n.spawn(print) end))
            assert.equal("bad argument #1 to 'nursery' (function or Python callable expected, got nil)",
                support.message(function() nursery() end))
        end)
    end)

    it("takes Python callables, also for its block", function()
        local namespace = support.python [[
            import moonlet
            results = []
            def child(x):
                moonlet.sleep(0)
                results.append(x)
        ]]
        run(function()
            nursery(function(n)
                for i = 1, 3 do
                    n:spawn(namespace.child, i)
                end
            end)
        end)
        assert.equal("[1, 2, 3]", tostring(namespace.results))
    end)
end)

describe("nursery:start", function()
    it("waits until the task has called started, and returns what that got", function()
        run(function()
            nursery(function(n)
                local a, b = n:start(function(started, x)
                    sleep(0.001)
                    started(x, "ready")
                    sleep(0.001)
                end, 1)
                assert.same({ 1, "ready" }, { a, b })
            end)
        end)
    end)

    it("raises the error of a task that fails before", function()
        run(function()
            local group = support.error_of(nursery, function(n)
                n:start(function() error "too early" end)
            end)
            assert.equal("too early", texts(group)[1])
        end)
    end)

    it("raises an error if the task ends before, or calls it twice", function()
        run(function()
            local group = support.error_of(nursery, function(n)
                n:start(function() end)
            end)
            assert.matches("has ended before it called started%(%)", texts(group)[1])
            group = support.error_of(nursery, function(n)
                n:start(function(started)
                    started()
                    started()
                end)
            end)
            assert.matches("started%(%) was called before", texts(group)[1])
        end)
    end)
end)
