-- The examples of the scheduler do what they say, in the program and in stock Lua.

local support = require "spec.support"

--- What the example prints, its errors included.
local function output(name)
    local pipe <close> = assert(io.popen(("timeout 100 %s examples/%s 2>&1"):format(support.lua, name)))
    return pipe:read "a"
end

describe("The example", function()
    it("asyncio_straight.lua uses an asyncio library", function()
        assert.equal(table.concat({
            "a task has filled 6",
            "a task has filled 30",
            "a task has filled 4",
            "from the least to the most: grain, wood, stone",
            "false\tdepot.DepotError: there is no gold",
            "waited long enough for wood: false",
            "wood is now 11",
            "the tasks have counted 36",
            "",
        }, "\n"), output "asyncio_straight.lua")
    end)
end)
