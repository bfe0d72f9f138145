-- How functions of the scheduler give values to Lua that came from Python, and how Python finds them.

local native = require "moonlet.native"

local facing = {}

local raw_of = setmetatable({}, { __mode = "k" })
local unbox = native.unbox

--- A function for Lua that gives what `f` gives, with values that came from Python as Lua gets them
--- elsewhere; Python calls `f` itself. `given` is that function where one is there already.
function facing.facing(f, given)
    given = given or function(...)
        return unbox(f(...))
    end
    raw_of[given] = f
    return given
end

--- The function called `name` in the file `module`, for Python. Dots in the name lead into tables.
function facing.find(module, name)
    local value = require("moonlet." .. module)
    for part in name:gmatch "[^.]+" do
        value = value[part]
    end
    return raw_of[value] or value
end

return facing
