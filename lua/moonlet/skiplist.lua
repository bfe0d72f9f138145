-- A list in the order of keys, equal ones in the order in which they came: a skip list. Keys are compared
-- only to insert one, and before anything is changed, so that an error of a comparison, or another task that
-- runs during one, finds a good list. To take the first item cannot fail.
--
-- A node is a table of its successors, by level, with a `key` and an `item`. The list is the node before the
-- first one.

local native = require "moonlet.native"
local hub = require "moonlet.hub"

local skiplist = {}

local MAX_LEVEL = 12 -- a quarter of the nodes of a level are in the next one: good for 4 ^ 12

function skiplist.new()
    return { level = 1, version = 0, seed = 1, path = {} }
end

-- Sets path[i] to the last node of level i that does not come after `key`.
local function find(list, key, path)
    local node = list
    for i = list.level, 1, -1 do
        local after = node[i]
        while after and not (key < after.key) do -- luacheck: ignore 581 (keys need not have more than `<`)
            node = after
            after = node[i]
        end
        path[i] = node
    end
end

local function find_checked(list, key)
    local version, path
    repeat
        version, path = list.version, {}
        local ok, err = native.pcall(find, list, key, path)
        if not ok then
            if type(err) == "string" then
                hub.misuse("TypeError", "priorities cannot be compared: " .. err:gsub("^[%w_./-]+:%d+: ", ""))
            end
            error(err, 0)
        end
    until list.version == version
    return path
end

local function random_level(list)
    local level = 1
    local seed = (list.seed * 1103515245 + 12345) & 0x7fffffff
    list.seed = seed
    seed = seed >> 7
    while seed & 3 == 0 and level < MAX_LEVEL do
        level = level + 1
        seed = seed >> 2
    end
    return level
end

--- Adds an item after all with keys that are not greater.
function skiplist.insert(list, key, item)
    local path
    if type(key) == "number" and (not list.other or not list[1]) then
        list.other = nil
        path = list.path
        find(list, key, path)
    else
        path = find_checked(list, key)
        list.other = true -- a key that is no number may be among them
    end
    local level = random_level(list)
    for i = list.level + 1, level do
        path[i] = list
        list.level = i
    end
    local node = { key = key, item = item }
    for i = 1, level do
        local before = path[i]
        node[i] = before[i]
        before[i] = node
    end
    list.version = list.version + 1
end

--- Takes the first item out, which must be there.
function skiplist.take(list)
    local node = list[1]
    local i = 1
    while list[i] == node do
        list[i], node[i] = node[i], nil
        i = i + 1
    end
    list.version = list.version + 1
    local item = node.item
    node.item = nil -- as list.path may have the node
    return item
end

return skiplist
