-- A pipeline of tasks: 200 Python tasks fetch pages over HTTP with a client that is written as if it
-- blocked, no more than 20 at once, each attempt for at most a second, with retries; Lua tasks
-- take what they find from a channel.
--
--     moonlet pipeline.lua

local moonlet = require "moonlet"
local py = moonlet.python

local here = arg[0]:match "^(.*)/" or "."
py.import("sys").path:insert(0, here)
local client = py.import "pipeline_client"

local PAGES, AT_ONCE, SECONDS = 200, 20, 1

moonlet.run(function()
    local port, stop = client.serve()
    local pages = moonlet.channel(10) -- when the readers fall behind, the fetchers wait
    local fetcher = client.Fetcher(port, moonlet.capacity_limiter(AT_ONCE), pages, SECONDS)

    local total, count, by_attempts = 0, 0, {}
    local function read()
        for page in pages do
            assert(page.size == page.number)
            total, count = total + page.size, count + 1
            by_attempts[page.attempts] = (by_attempts[page.attempts] or 0) + 1
        end
    end

    moonlet.nursery(function(readers)
        for _ = 1, 3 do
            readers:spawn(read)
        end
        moonlet.nursery(function(fetchers)
            for number = 1, PAGES do
                fetchers:spawn(fetcher, number)
            end
        end)
        pages:close()
    end)
    stop()

    print(("%d pages, %d bytes, %d at once"):format(count, total, fetcher.most))
    for attempts, n in ipairs(by_attempts) do
        print(("%d pages at attempt %d"):format(n, attempts))
    end
end)
