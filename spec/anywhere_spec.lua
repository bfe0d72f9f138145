-- A greenlet can be left from any depth and anything: what runs on its stack stays as it is.

local moonlet = require "moonlet"
local support = require "spec.support"
local py = moonlet.python
local spawn, pause, drain = moonlet.greenlet, support.pause, support.drain

describe("switching inside Lua's", function()
    it("table.sort", function()
        local compared = 0
        local g = spawn(function()
            local t = { 5, 3, 1, 4, 2 }
            table.sort(t, function(a, b)
                compared = compared + 1
                return pause(a, b) < 0
            end)
            return table.unpack(t)
        end)
        local results = { g:switch() }
        while not g.dead do
            results = { g:switch(results[1] - results[2]) }
        end
        assert.same({ 1, 2, 3, 4, 5 }, results)
        assert.is_true(compared > 4)
    end)

    it("string.gsub", function()
        local g = spawn(function()
            return (("a b c"):gsub("%a", pause))
        end)
        assert.equal("a", g:switch())
        assert.equal("b", g:switch "1")
        assert.equal("c", g:switch "2")
        assert.equal("1 2 3", g:switch "3")
    end)

    it("metamethods", function()
        local t = setmetatable({}, {})
        for event in ("add concat eq lt le len unm call index"):gmatch "%a+" do
            getmetatable(t)["__" .. event] = function()
                return pause(event)
            end
        end
        getmetatable(t).__newindex = function(_, _, value)
            pause(value)
        end
        local other = setmetatable({}, getmetatable(t))
        local function check(event, result, f)
            local g = spawn(f)
            assert.equal(event, (g:switch()))
            assert.equal(result, (g:switch(result)))
            assert.is_true(g.dead)
        end
        -- stylua: ignore
        do
            check("add", 1, function() return t + 1 end)
            check("concat", "x", function() return t .. "" end)
            check("eq", true, function() return t == other end)
            check("lt", false, function() return t < other end)
            check("le", true, function() return t <= other end)
            check("len", 7, function() return #t end)
            check("unm", 8, function() return -t end)
            check("call", "c", function() return t() end)
            check("index", "i", function() return t.x end)
            check("assigned", nil, function() t.x = "assigned" end)
        end
    end)

    it("pcall, which catches what is thrown in", function()
        local g = spawn(function()
            return pcall(function()
                return pcall(error, pause "deep")
            end)
        end)
        assert.equal("deep", g:switch())
        assert.same({ true, false, "given" }, { g:switch "given" })

        g = spawn(function()
            return pcall(function()
                pause()
            end)
        end)
        g:switch()
        assert.same({ false, "thrown" }, { g:throw "thrown" })
    end)

    it("xpcall and its message handler", function()
        local g = spawn(function()
            return xpcall(error, function(message)
                return pause("handling " .. message)
            end, "problem")
        end)
        assert.equal("handling problem", g:switch())
        assert.same({ false, "handled" }, { g:switch "handled" })
    end)

    it("require", function()
        package.preload["spec.slow"] = function()
            return { pause "loading" }
        end
        local g = spawn(function()
            return require("spec.slow")[1]
        end)
        assert.equal("loading", g:switch())
        assert.equal("loaded", g:switch "loaded")
        package.preload["spec.slow"] = nil
    end)

    it("load", function()
        local g = spawn(function()
            return load(pause)()
        end)
        g:switch()
        g:switch "return "
        g:switch "1 + 1"
        assert.equal(2, g:switch(nil))
    end)

    it("for loops and their iterators", function()
        local g = spawn(function()
            local sum = 0
            for value in pause do
                sum = sum + value
            end
            return sum
        end)
        g:switch()
        g:switch(1)
        g:switch(2)
        assert.equal(3, g:switch(nil))
    end)

    it("__close, on the normal way and while an error passes", function()
        local function closing()
            return setmetatable({}, {
                __close = function(_, err)
                    pause("closing", err)
                end,
            })
        end
        local g = spawn(function()
            local _ <close> = closing()
            return "result"
        end)
        assert.same({ "closing" }, { g:switch() })
        assert.equal("result", g:switch())

        g = spawn(function()
            local _ <close> = closing()
            error("passing", 0)
        end)
        assert.same({ "closing", "passing" }, { g:switch() })
        assert.equal("passing", support.error_of(g.switch, g))
    end)
end)

describe("a coroutine", function()
    it("is normal while it is suspended by a switch in its middle", function()
        local co = coroutine.create(function(x)
            local y = coroutine.yield(pause(x + 1))
            return y
        end)
        local g = spawn(function()
            local _, first = coroutine.resume(co, 1)
            return first, coroutine.resume(co, "last")
        end)
        assert.equal("suspended", coroutine.status(co))
        assert.equal(2, g:switch())
        assert.equal("normal", coroutine.status(co))
        assert.same({ false, "cannot resume non-suspended coroutine" }, { coroutine.resume(co) })
        assert.same({ "yielded", true, "last" }, { g:switch "yielded" })
        assert.equal("dead", coroutine.status(co))
    end)

    it("may be resumed by one greenlet after the other", function()
        local co = coroutine.wrap(function()
            for i = 1, 4 do
                coroutine.yield(i)
            end
        end)
        local a = spawn(function()
            pause(co())
            pause(co())
        end)
        local b = spawn(function()
            pause(co())
            pause(co())
        end)
        assert.same({ 1, 2, 3, 4 }, { a:switch(), b:switch(), a:switch(), b:switch() })
    end)

    it("may make and switch greenlets", function()
        local co = coroutine.wrap(function()
            local g = spawn(function()
                pause "inner"
                return "end"
            end)
            coroutine.yield((g:switch()))
            coroutine.yield((g:switch()))
        end)
        assert.same({ "inner", "end" }, { co(), co() })
    end)

    it("cannot yield out of its greenlet", function()
        local co = coroutine.wrap(function()
            local g = spawn(function()
                coroutine.yield()
            end)
            return support.message(g.switch, g)
        end)
        assert.equal("attempt to yield across a C-call boundary", co())
    end)

    it("can be nested, each level being left and come back to", function()
        local function nest(depth)
            if depth == 0 then
                return pause "bottom"
            end
            return coroutine.wrap(nest)(depth - 1) + 1
        end
        local g = spawn(nest)
        assert.equal("bottom", g:switch(20))
        assert.equal(120, g:switch(100))
    end)
end)

describe("switching inside Python's", function()
    local namespace = support.python [[
        import functools, re
        from greenlet import getcurrent

        def pause(*values):
            return getcurrent().parent.switch(*values)

        def with_sorted():
            return sorted([3, 1, 2], key=pause)

        def with_map():
            return list(map(pause, "abc"))

        def with_filter():
            return list(filter(pause, "abc"))

        def generator():
            for i in range(3):
                yield pause(i)

        def with_generator():
            return sum(generator())

        def with_comprehension():
            return [pause(i) for i in range(3)]

        def with_reduce():
            return functools.reduce(pause, [1, 2, 3])

        def with_sub():
            return re.sub("[a-c]", lambda match: pause(match.group()), "a-b-c")

        class Manager:
            def __enter__(self):
                return pause("enter")
            def __exit__(self, *error):
                return pause("exit", error[0] and error[0].__name__)

        def with_manager():
            with Manager() as m:
                pause("body", m)
                raise KeyError("swallowed")
            return "after"

        class Special:
            def __getattr__(self, name):
                return pause("attribute " + name)
            def __getitem__(self, key):
                return pause("item", key)
            def __add__(self, other):
                return pause("add", other)
            def __len__(self):
                return pause("len")
            def __lt__(self, other):
                return pause("lt")
            def __hash__(self):
                return pause("hash")
            def __repr__(self):
                return pause("repr")

        def with_special():
            s = Special()
            return (s.x, s[1], s + 2, len(s), s < s, hash(s), repr(s))

        def with_import():
            import builtins
            real = builtins.__import__
            def hooked(name, *rest):
                if name == "colorsys":
                    pause("import " + name)
                return real(name, *rest)
            builtins.__import__ = hooked
            try:
                import colorsys
            finally:
                builtins.__import__ = real
            return colorsys.__name__

        def with_except():
            try:
                raise ValueError("first")
            except ValueError as e:
                pause(str(e))
                try:
                    raise
                except ValueError as again:
                    return again is e
    ]]

    local function run(name, ...)
        local g = spawn(namespace[name])
        local got = { g:switch() }
        local log = { got[1] }
        for i = 1, select("#", ...) do
            got = { g:switch((select(i, ...))) }
            log[#log + 1] = got[1]
        end
        assert.is_true(g.dead)
        local last = table.remove(log)
        return last, log, got
    end

    it("sorted(key=)", function()
        local sorted, keys = run("with_sorted", 1, 3, 2)
        assert.equal("[3, 2, 1]", tostring(sorted))
        assert.same({ 3, 1, 2 }, keys)
    end)

    it("map and filter", function()
        local mapped, seen = run("with_map", 1, 2, 3)
        assert.equal("[1, 2, 3]", tostring(mapped))
        assert.same({ "a", "b", "c" }, seen)
        assert.equal("['a', 'c']", tostring((run("with_filter", true, false, 1))))
    end)

    it("generators", function()
        assert.equal(60, (run("with_generator", 10, 20, 30)))
    end)

    it("comprehensions", function()
        assert.equal("[10, 20, 30]", tostring((run("with_comprehension", 10, 20, 30))))
    end)

    it("functools.reduce", function()
        assert.equal("end", (run("with_reduce", 3, "end")))
    end)

    it("re.sub", function()
        assert.equal("x-y-z", (run("with_sub", "x", "y", "z")))
    end)

    it("with", function()
        local result, log = run("with_manager", "m", nil, true)
        assert.equal("after", result)
        assert.same({ "enter", "body", "exit" }, log)
    end)

    it("special methods", function()
        local _, log, results = run("with_special", 1, 2, 3, 4, true, 6, "seven")
        assert.same({ 1, 2, 3, 4, true, 6, "seven" }, results)
        assert.same({ "attribute x", "item", "add", "len", "lt", "hash", "repr" }, log)
    end)

    it("import", function()
        assert.equal("colorsys", (run("with_import", nil)))
    end)

    it("except, which has its own exception again afterwards", function()
        local g = spawn(namespace.with_except)
        assert.equal("first", g:switch())
        local other = spawn(namespace.with_except)
        other:switch()
        assert.is_true(g:switch())
        assert.is_true(other:switch())
    end)
end)

describe("switching through both languages", function()
    local namespace = support.python [[
        def up(f, depth):
            return f(depth)
        def each(f, items):
            return [f(i) for i in items]
    ]]

    it("works at any depth of calls from the one to the other", function()
        local function down(depth)
            if depth == 0 then
                return pause "bottom"
            end
            return namespace.up(down, depth - 1) + 1
        end
        local g = spawn(down)
        assert.equal("bottom", g:switch(30))
        assert.equal(130, g:switch(100))
    end)

    it("lets one greenlet interrupt the sort of another", function()
        local order = {}
        local function sorter(name)
            return spawn(function()
                py.builtins.sorted({ 3, 1, 2 }, py.kw { key = function(x)
                    order[#order + 1] = name .. x
                    pause()
                    return x
                end })
            end)
        end
        local a, b = sorter "a", sorter "b"
        repeat
            a:switch()
            b:switch()
        until a.dead and b.dead
        assert.equal("a1 b1 a2 b2 a3 b3", table.concat(order, " "))
    end)

    it("leaves errors to the frames they belong to", function()
        local g = spawn(function()
            return pcall(namespace.each, function(i)
                if i == 3 then
                    error "three"
                end
                return pause(i)
            end, py.eval "[1, 2, 3]")
        end)
        assert.same({ 1, 2 }, { g:switch(), (g:switch()) })
        local ok, err = g:switch()
        assert.is_false(ok)
        assert.matches("anywhere_spec.lua:%d+: three$", err)
    end)

    it("keeps ten greenlets at different depths apart", function()
        local function worker(n)
            local function down(depth)
                if depth == 0 then
                    local sum = 0
                    for i = 1, 10 do
                        sum = sum + pause(n * i)
                    end
                    return sum
                elseif depth % 3 == 0 then
                    return (namespace.up(down, depth - 1))
                elseif depth % 3 == 1 then
                    return select(2, pcall(down, depth - 1))
                end
                return coroutine.wrap(down)(depth - 1)
            end
            return down(n * 3)
        end
        local workers = {}
        for n = 1, 10 do
            workers[n] = spawn(worker)
            assert.equal(n, workers[n]:switch(n))
        end
        for i = 2, 10 do
            for n = 10, 1, -1 do
                assert.equal(n * i, workers[n]:switch(n))
            end
        end
        for n = 1, 10 do
            assert.equal(10 * n, workers[n]:switch(n))
            assert.is_true(workers[n].dead)
        end
    end)

    it("drains a Python generator that a greenlet feeds", function()
        local source = spawn(function()
            for word in ("one two three"):gmatch "%a+" do
                pause(word)
            end
        end)
        assert.same({ "one", "two", "three" }, drain(source))
        local iterate = support.python [[
            def items(g):
                while not g.dead:
                    item = g.switch()
                    if item is not None:
                        yield item
        ]]
        source = spawn(function()
            pause "uno"
            pause "due"
        end)
        local seen = {}
        for item in py.iter(iterate.items(source)) do
            seen[#seen + 1] = item
        end
        assert.same({ "uno", "due" }, seen)
    end)
end)
