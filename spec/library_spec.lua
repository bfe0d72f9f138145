-- The definitions for the Lua language server say what there is: all of it and nothing else.

local moonlet = require "moonlet"
local py = moonlet.python

local function read(path)
    local file <close> = assert(io.open(path))
    return file:read "a"
end

local paths = { "lua/library/moonlet.lua" }
do
    local list <close> = assert(io.popen "ls lua/library/moonlet/*.lua")
    for path in list:lines() do
        paths[#paths + 1] = path
    end
end

--- The classes of all files, each with its members and operators, sets of names; and all functions,
--- each with its name, parameters and comment, a list of lines.
local classes, functions = {}, {}

local function parse(text)
    local variables, comment = {}, {}
    local class
    for line in text:gmatch "([^\n]*)\n" do
        local name = line:match "^%-%-%-@class ([%w_.]+)$" or line:match "^%-%-%-@class ([%w_.]+): "
        if name then
            class = classes[name] or { members = {}, operators = {}, base = line:match ": (moonlet.*)$" }
            classes[name] = class
        end
        local field = line:match "^%-%-%-@field ([%a_][%w_]*)%?? "
        local operator = line:match "^%-%-%-@operator (%a+)"
        local variable = line:match "^local (%w+) = {}"
        local owner, method, parameters = line:match "^function (%w+)[.:]([%w_]+)%((.*)%) end$"
        if field then
            class.members[field] = true
        elseif operator then
            class.operators["__" .. operator] = true
        elseif line:find "^%-%-%-@overload fun" and class then
            class.operators.__call = true
        elseif variable then
            variables[variable] = class
        elseif method then
            local of = variables[owner]
            of.members[method] = true
            functions[#functions + 1] = { name = owner .. "." .. method, parameters = parameters, comment = comment }
        end
        if line:find "^%-%-%-" then
            comment[#comment + 1] = line
        else
            comment = {}
        end
    end
end

for _, path in ipairs(paths) do
    parse(read(path))
end

--- Those of a class and of the ones it is based on.
local function all_members(class)
    local set = {}
    while class do
        for name in pairs(class.members) do
            set[name] = true
        end
        class = classes[class.base]
    end
    return set
end

local function keys(t)
    local set = {}
    for key in pairs(t) do
        set[key] = true
    end
    return set
end

--- The methods in the table that is an upvalue of __index, and the names of fields that a function
--- in C compares keys with.
local function members(o, upvalue, source, name)
    local _, methods = debug.getupvalue(debug.getmetatable(o).__index, upvalue)
    local set = keys(methods)
    local body = assert(read(source):match("\nstatic int " .. name .. "%b() (%b{})"))
    for field in body:gmatch 'strcmp%(%w+, "(%w+)"%) == 0' do
        assert.is_nil(set[field])
        set[field] = true
    end
    return set
end

describe("the definitions for the Lua language server", function()
    it("are Lua", function()
        for _, path in ipairs(paths) do
            assert.is_function(assert(loadfile(path)))
            assert.matches("^%-%-%-@meta moonlet", read(path))
        end
    end)

    it("have the fields of moonlet", function()
        assert.same(keys(moonlet), classes.moonlet.members)
    end)

    it("have the fields of moonlet.python", function()
        assert.same(keys(py), classes["moonlet.python"].members)
    end)

    for _, name in ipairs { "net", "fs", "process", "signal" } do
        it("have the functions of moonlet." .. name, function()
            assert.same(keys(moonlet[name]), classes["moonlet." .. name].members)
        end)
    end

    it("have what the objects of the scheduler have", function()
        for _ in pairs(moonlet) do -- loads all
        end
        for name, class in pairs(require("moonlet.class").all) do
            local set = {}
            for key in pairs(class.properties) do
                set[key] = true
            end
            local methods = class.methods
            while methods do
                for key in pairs(methods) do
                    set[key] = true
                end
                methods = (getmetatable(methods) or {}).__index
            end
            local declared = "moonlet." .. name:gsub("^%l", string.upper):gsub(" (%l)", string.upper):gsub(" ", "")
            assert.is_table(classes[declared], declared)
            assert.same(set, all_members(classes[declared]), declared)
        end
    end)

    it("have what a greenlet has", function()
        local g = moonlet.greenlet(print)
        local all = members(g, 2, "src/lua/lgreenlet.c", "get_attribute")
        assert.same(all, classes["moonlet.Greenlet"].members)
        assert.same({ "function", "boolean" }, { type(g.switch), type(g.dead) })
    end)

    it("have what a buffer has", function()
        local b = py.buffer(py.bytes "x")
        local all = members(b, 1, "src/bridge/buffer.c", "push_field")
        assert.same(all, classes["moonlet.Buffer"].members)
        for name in pairs(all) do
            assert.is_not_nil(b[name])
        end
    end)

    it("have the operators of Python objects that can be declared", function()
        local set = {}
        local special = "index newindex gc name eq lt le close tostring pairs metatable mode"
        for event in pairs(debug.getmetatable(py.builtins)) do
            if not (" " .. special .. " "):find(" " .. event:sub(3) .. " ", 1, true) then
                set[event] = true
            end
        end
        assert.same(set, classes["moonlet.PythonObject"].operators)
    end)

    it("have the settings that moonlet.open and moonlet.config know", function()
        local list = assert(read("src/bridge/limits.c"):match "settings%[%] = (%b{})")
        local set = {}
        for name in list:gmatch '"(%w+)"' do
            set[name] = true
        end
        assert.same(set, classes["moonlet.Settings"].members)
        assert.same({ lanes = true }, classes["moonlet.Config"].members)
        assert.equal("integer", math.type(moonlet.config.lanes))
    end)

    it("name each parameter of a function once, in order, and its errors", function()
        assert.is_true(#functions > 0)
        for _, f in ipairs(functions) do
            local documented, errors = {}, false
            for _, line in ipairs(f.comment) do
                documented[#documented + 1] = line:match "^%-%-%-@param ([%w_.]+)%?? [%w{]"
                errors = errors or line:find "Errors: " ~= nil
            end
            assert.equal(f.parameters, table.concat(documented, ", "), f.name)
            assert.is_true(errors, f.name)
        end
    end)
end)
