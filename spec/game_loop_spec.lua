-- The example of a game loop, by a host in Lua and by one in C.

local support = require "spec.support"

local expected = [[
frames: 60, behaviours: 1000
all moved: true
fair: true
]]

describe("the example game_loop", function()
    it("runs in Lua", function()
        local output, status = support.run("examples/game_loop.lua", "60")
        assert.equal(0, status, output)
        assert.equal(expected, (output:gsub(", in order: true", "")))
    end)

    it("runs in C", function()
        local build = support.program:match "^(.*)/" or "."
        local name = os.tmpname()
        local flags = support.sanitized and "-fsanitize=address,undefined" or ""
        local command = ([[
            unset LD_PRELOAD
            cc -std=c11 -Wall -Wextra -Werror FLAGS examples/game_loop.c -o NAME -Iinclude -LBUILD/lib \
                -Wl,-rpath,"$(cd BUILD && pwd)/lib" -lmoonlet $(pkg-config --cflags --libs lua5.4) &&
                ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 NAME 60]])
            :gsub("NAME", name):gsub("BUILD", build):gsub("FLAGS", flags)
        local output, status = support.shell(command)
        os.remove(name)
        assert.equal(0, status, output)
        assert.equal(expected, output)
    end)
end)
