-- Runs every snippet of README.md and of the files of docs that are named below:
--
--     LUA spec/readme.lua [BUILD [FILE...]]
--
-- LUA is the program, or a lua5.4 that finds the plugin; BUILD the build directory, where program
-- and library are (default: build); FILEs are those to run instead of all. Exits with 1 if a snippet
-- fails.
--
-- `--> text` in Lua, `#> text` in Python and shell, and `//> text` in C is a line that the snippet
-- prints; `...` in it stands for anything, and blanks count as one. All of them in their order are
-- all that the snippet prints. A shell command without any may print what it likes. Snippets marked
-- `venv` need the Python package: spec/packaging/test_packaging.py runs them.

local moonlet = require "moonlet"
local py = moonlet.python

local source = (arg[0]:match "^(.*)/" or ".") .. "/.."
local build = arg[1] or source .. "/build"

-- ------------------------------------------------------------------------------------- snippets

-- The fenced blocks of a text: each a list of lines, with `language`, and `line`, its first one's.
local function snippets(name)
    local file <close> = assert(io.open(source .. "/" .. name))
    local text = file:read "a"
    local list, number, current = {}, 0, nil
    for line in text:gmatch "([^\n]*)\n" do
        number = number + 1
        local language = line:match "^```(.*)"
        if not language then
            table.insert(current or {}, line)
        elseif current then
            table.insert(list, current)
            current = nil
        else
            current = { language = language, file = name, line = number + 1 }
        end
    end
    assert(not current, "a snippet has no end")
    return list
end

local function squeeze(line)
    return (line:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

-- What follows `mark`, a pattern, in these lines.
local function wanted(lines, mark)
    local list = {}
    for _, line in ipairs(lines) do
        local text = (" " .. line):match("%s" .. mark .. "> (.*)")
        table.insert(list, text and squeeze(text))
    end
    return list
end

local function matches(line, text)
    local pattern = text:gsub("%p", "%%%0"):gsub("%%%.%%%.%%%.", ".-")
    return line:find("^" .. pattern .. "$") ~= nil
end

-- Raises an error unless the printed text consists of the lines of the list.
local function compare(list, printed)
    local i = 0
    for line in printed:gmatch "[^\n]+" do
        i = i + 1
        if not matches(squeeze(line), list[i] or "") then
            error(("printed line %d: expected %q, got %q"):format(i, list[i] or "", line), 0)
        end
    end
    if list[i + 1] then
        error(("printed line %d: expected %q, got nothing"):format(i + 1, list[i + 1]), 0)
    end
end

-- ------------------------------------------------------------------------------ Lua and Python

local pieces -- of what a snippet prints
local environment = setmetatable({ moonlet = moonlet, py = py }, { __index = _G })
local globals = py.builtins.dict()

function environment.print(...)
    local line = table.pack(...)
    for i = 1, line.n do
        line[i] = tostring(line[i])
    end
    table.insert(pieces, table.concat(line, " ") .. "\n")
end

py.exec([[
class Stdout:
    def __init__(self, write):
        self.write = write

    def flush(self):
        pass
]], globals)

local stdout = globals.Stdout(function(text)
    table.insert(pieces, text)
end)

-- Calls f; what it prints.
local function capture(f, ...)
    local sys = py.import "sys"
    local before = sys.stdout
    pieces = {}
    sys.stdout = stdout
    local ok, err = pcall(f, ...)
    sys.stdout = before
    return ok and table.concat(pieces) or error(err, 0)
end

local run = {}

function run.lua(lines)
    local code = ("\n"):rep(lines.line - 1) .. table.concat(lines, "\n")
    local chunk = assert(load(code, "@" .. lines.file, "t", environment))
    compare(wanted(lines, "%-%-"), capture(chunk))
end

function run.python(lines)
    compare(wanted(lines, "#"), capture(py.exec, table.concat(lines, "\n"), globals))
end

-- -------------------------------------------------------------------------------- C and shell

-- What a shell command prints; it must succeed. `source` and `build` are variables in it.
local function shell(command)
    local line = ("exec 2>&1; source=%q build=%q; cd \"$source\"\n"):format(source, build)
    local pipe = assert(io.popen(line .. command))
    local printed = pipe:read "a"
    if not pipe:close() then
        error(command .. "\n" .. printed, 0)
    end
    return printed
end

source = shell("pwd"):match "[^\n]+"
build = shell('cd "$build" && pwd'):match "[^\n]+"

local function sanitized()
    local file <close> = assert(io.open(build .. "/CMakeCache.txt"))
    return file:read("a"):find "MOONLET_SANITIZE:BOOL=ON" ~= nil
end

function run.c(lines)
    local name = os.tmpname()
    local file = assert(io.open(name .. ".c", "w"))
    file:write(table.concat(lines, "\n"), "\n"):close()
    local flags = sanitized() and "-fsanitize=address,undefined" or ""
    local ok, printed = pcall(shell, ([[
        cc -std=c11 -Wall -Wextra -Werror FLAGS NAME.c -o NAME -Iinclude -L"$build/lib" \
            -Wl,-rpath,"$build/lib" -lmoonlet $(pkg-config --cflags --libs lua5.4) && NAME]])
        :gsub("NAME", name):gsub("FLAGS", flags))
    os.remove(name)
    os.remove(name .. ".c")
    compare(wanted(lines, "//"), ok and printed or error(printed, 0))
end

-- What to run for a command of the README: nothing is installed, and the build is the one given.
local function command_for(line)
    local command = line:match "^%./dev (%l+)"
    if command == "run" then
        return '"$build/moonlet" ' .. line:match "run (.*)"
    elseif command or line == 'eval "$(./dev env)"' then
        return ("./dev help | grep -q '^  %s '"):format(command or "env")
    elseif line:find "^moonlet " then
        return '"$build/' .. line:gsub(" ", '" ', 1)
    elseif line:find "^lua5.4 " then
        local preload = sanitized() and "LD_PRELOAD=$(cc -print-file-name=libasan.so) " or ""
        return preload .. 'LUA_CPATH="$build/lib/lua/5.4/?.so" ' .. line
    end
    error("no way is known to test " .. line, 0)
end

function run.sh(lines)
    for _, line in ipairs(lines) do
        local printed = shell(command_for(line))
        local list = wanted({ line }, "#")
        if #list > 0 then
            compare(list, printed)
        end
    end
end

-- ------------------------------------------------------------------------------------------ main

local failed = 0
local names = {
    "README.md", "docs/bridge.md", "docs/scheduler.md", "docs/channels.md", "docs/io.md", "docs/asyncio.md",
    "docs/watching.md",
}
for _, name in ipairs(arg[2] and table.move(arg, 2, #arg, 1, {}) or names) do
    for _, snippet in ipairs(snippets(name)) do
        local place = ("%s:%d"):format(name, snippet.line)
        if snippet.language ~= "" and not snippet.language:find " venv$" then
            local ok, err = pcall(run[snippet.language], snippet)
            print(ok and "ok" or "FAILED", place, snippet.language, ok and "" or err)
            failed = failed + (ok and 0 or 1)
        end
    end
end
os.exit(failed == 0, true)
