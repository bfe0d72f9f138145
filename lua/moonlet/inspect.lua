-- What tasks do: for reports and tools.

local hub = require "moonlet.hub"

local inspect = {}

--- The text of a deadlock.
function inspect.deadlock()
    local lines = { "deadlock: nothing can ever run again" }
    for _, list in pairs { hub.all_tasks() } do
        for _, t in pairs(list) do
            if t.entry then
                lines[#lines + 1] = ("  %s waits: %s"):format(t.name, t.entry.what)
            end
        end
    end
    return table.concat(lines, "\n")
end

return inspect
