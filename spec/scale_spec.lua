-- Many greenlets, and few lanes.

local moonlet = require "moonlet"
local support = require "spec.support"
local pause, message = support.pause, support.message

local many = support.scaled(100000)

--- Runs code in a child with MOONLET_LANES set.
local function child(lanes, code)
    local name = support.file('local moonlet = require "moonlet"\n' .. code)
    local command = support.command("env", "MOONLET_LANES=" .. lanes, support.lua, name)
    local output, status = support.shell(command)
    os.remove(name)
    return output, status
end

describe(("%d greenlets suspended at once"):format(many), function()
    local function check(start)
        local all = {}
        for i = 1, many do
            all[i] = start(i)
        end
        local sum = 0
        for i = 1, many do
            sum = sum + all[i]:switch(1)
        end
        assert.equal(many * (many + 1) // 2 + many, sum)
        for i = 1, many, 997 do
            assert.is_true(all[i].dead)
        end
    end

    it("work from Lua", function()
        local function body(i)
            return i + pause()
        end
        check(function(i)
            local g = moonlet.greenlet(body)
            g:switch(i)
            return g
        end)
    end)

    it("work from Lua, running Python", function()
        local body = support.python([[
            from greenlet import getcurrent
            def body(i):
                return i + getcurrent().parent.switch()
        ]]).body
        check(function(i)
            local g = moonlet.greenlet(body)
            g:switch(i)
            return g
        end)
    end)

    it("work from Python", function()
        local namespace = support.python [[
            from greenlet import greenlet, getcurrent
            def body(i):
                return i + getcurrent().parent.switch()
            def run(many):
                all = [greenlet(body) for i in range(many)]
                for i, g in enumerate(all):
                    g.switch(i)
                return sum(g.switch(1) for g in all), all[0].dead, all[-1].dead
        ]]
        assert.same(
            { many * (many - 1) // 2 + many, true, true },
            { namespace.run(many) }
        )
    end)

    it("may be dropped suspended, and are ended", function()
        local ended = 0
        local function body()
            local _ <close> = setmetatable({}, {
                __close = function()
                    ended = ended + 1
                end,
            })
            pause()
        end
        local all = {}
        local count = many // 10
        for i = 1, count do
            all[i] = moonlet.greenlet(body)
            all[i]:switch()
        end
        all = nil -- luacheck: ignore
        support.collect()
        moonlet.greenlet(print).parent = moonlet.current()
        moonlet.greenlet(function() end):switch()
        assert.equal(count, ended)
    end)
end)

describe("a long chain", function()
    it("of parents passes a result down", function()
        local g = moonlet.current()
        for _ = 1, 1000 do
            g = moonlet.greenlet(function(...)
                return ...
            end, g)
        end
        assert.equal("passed", g:switch "passed")
    end)

    it("of greenlets that start each other comes back", function()
        local function body(depth)
            if depth == 0 then
                return 0
            end
            return moonlet.greenlet(body):switch(depth - 1) + 1
        end
        assert.equal(150, moonlet.greenlet(body):switch(150))
    end)
end)

describe("with few lanes", function()
    local work = [[
        local py = moonlet.python
        py.exec "from greenlet import getcurrent\ndef down(n, f):\n\z
                 \treturn down(n - 1, f) + 1 if n else f()"
        local down = py.import "__main__".down
        local function pause(...)
            return moonlet.current().parent:switch(...)
        end
        local all, sum = {}, 0
        for i = 1, 20 do
            all[i] = moonlet.greenlet(function(depth)
                local total = 0
                for _ = 1, 10 do
                    total = total + down(depth, pause)
                end
                return total
            end)
            all[i]:switch(i * 3)
        end
        for round = 1, 10 do
            for i = 20, 1, -1 do
                local result = all[i]:switch(1)
                sum = sum + (result or 0)
            end
        end
        print(moonlet.config.lanes, sum)
    ]]
    local expected = 0
    for i = 1, 20 do
        expected = expected + 10 * (3 * i + 1)
    end

    for _, lanes in ipairs { 1, 2, 7 } do
        it(("all works the same: %d"):format(lanes), function()
            local output, status = child(lanes, work)
            local shown = support.hostile and 1 or lanes
            assert.equal(("%d\t%d\n"):format(shown, expected), output)
            assert.equal(0, status)
        end)
    end
end)

describe("moonlet.config.lanes", function()
    local limit = moonlet.config.lanes

    after_each(function()
        moonlet.config.lanes = limit
    end)

    it("is 256 by default", function()
        local output = support.child 'print(require "moonlet".config.lanes)'
        assert.equal(support.hostile and "1\n" or "256\n", output)
    end)

    it("comes from MOONLET_LANES", function()
        local output = child(12, "print(moonlet.config.lanes)")
        assert.equal(support.hostile and "1\n" or "12\n", output)
    end)

    it("can be set at any time", function()
        local all = {}
        for i = 1, 30 do
            moonlet.config.lanes = 1 + i % 5
            all[i] = moonlet.greenlet(function(x)
                for _ = 1, 5 do
                    x = x + pause(x)
                end
                return x
            end)
            assert.equal(i, all[i]:switch(i))
        end
        for step = 1, 5 do
            moonlet.config.lanes = step
            for i = 30, 1, -1 do
                assert.equal(i + step, all[i]:switch(1))
            end
        end
    end)

    it("takes integers from 1 to 16384", function()
        local text = "bad value for 'lanes' (integer from 1 to 16384 expected, got %s)"
        for _, value in ipairs { 0, -1, 16385, 1.5, "2", true } do
            assert.equal(text:format(value), message(function()
                moonlet.config.lanes = value
            end))
        end
        moonlet.config.lanes = 16384
        moonlet.config.lanes = 1.0
    end)

    it("is warned about if MOONLET_LANES is bad", function()
        if support.hostile then
            return -- has one lane, whatever is asked for
        end
        for _, value in ipairs { "0", "x", "16385", "1.5" } do
            local output, status = child(value, "print(moonlet.config.lanes)")
            assert.equal(
                "moonlet: MOONLET_LANES: integer from 1 to 16384 expected, got '" .. value .. "'",
                output:match "^[^\n]*"
            )
            assert.equal(0, status)
        end
    end)

    it("is the only setting", function()
        assert.equal("moonlet.config has no 'threads'", message(function()
            return moonlet.config.threads
        end))
        assert.equal("moonlet.config has no 'threads'", message(function()
            moonlet.config.threads = 1
        end))
    end)

    it("is seen by Python greenlets, too", function()
        moonlet.config.lanes = 1
        local run = support.python([[
            from greenlet import greenlet, getcurrent
            def run():
                def body(depth):
                    if depth:
                        return sorted([0], key=lambda _: body(depth - 1))
                    return getcurrent().parent.switch(depth)
                all = [greenlet(body) for i in range(50)]
                for i, g in enumerate(all):
                    g.switch(i % 10)
                for g in all:
                    g.switch(1)
                return all[0].dead, len(all)
        ]]).run
        assert.same({ true, 50 }, { run() })
    end)
end)

describe("memory of a suspended greenlet", function()
    local code = [[
        local function resident()
            return io.open("/proc/self/statm"):read "a":match "^%%d+ (%%d+)" * 4
        end
        local py, all = moonlet.python, {}
        py.exec "from greenlet import getcurrent\ndef down(n):\n\z
            \treturn down(n - 1) if n else getcurrent().parent.switch()"
        local down = %s
        for i = 1, 20000 do
            all[i] = moonlet.greenlet(down)
        end
        local before = resident()
        for i = 1, 20000 do
            all[i]:switch(%d)
        end
        print((resident() - before) / 20000)
    ]]

    --- Of greenlets that are made already, which pause `depth` calls deep in `down`: less than `most` KiB,
    --- in hostile builds, whose C frames are large, `more`.
    local function check(down, depth, most, more)
        if support.sanitized then
            return pending "a sanitizer needs its own memory"
        end
        local output, status = child(256, code:format(down, depth))
        assert.equal(0, status)
        local each = tonumber(output)
        assert.is_true(each < (support.hostile and more or most), each .. " KiB each")
    end

    it("is what is on its stack in Lua", function()
        check("function() moonlet.current().parent:switch() end", 0, 2, 2.5)
    end)

    it("is what is on its stack and in its frames in Python", function()
        local down = 'py.import "__main__".down'
        check(down, 0, 1.2, 2)
        check(down, 10, 2.4, 3.2)
        check(down, 25, 4.2, 5)
    end)
end)

it("A state closes in linear time, whatever greenlets do about it", function()
    local code = [[
        local main = moonlet.current()
        local function body()
            while true do
                pcall(main.switch, main)
            end
        end
        all = {}
        for i = 1, %d do
            all[i] = moonlet.greenlet(body)
            all[i]:switch()
        end
    ]]
    local start = os.time()
    local output, status = child(256, code:format(support.scaled(50000)))
    assert.same({ "", 0 }, { output, status })
    assert.is_true(os.time() - start < 12)
end)
