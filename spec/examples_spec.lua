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

    it("pipeline.lua fetches pages at once", function()
        local text = output "pipeline.lua"
        assert.equal("200 pages, 20100 bytes, 20 at once", text:match "^[^\n]*", text)
        local total, first = 0, nil
        for n, attempt in text:gmatch "(%d+) pages at attempt (%d)" do
            total = total + tonumber(n)
            first = first or attempt == "1" and tonumber(n)
        end
        -- Those that are as the server lets them be; on a busy machine some more need another attempt.
        assert.equal(200, total, text)
        assert.is_true(first <= 180, text)
    end)
end)
