-- Runs every snippet of README.md:
--
--     LUA spec/readme.lua BUILD [SOURCE]
--
-- LUA is the program or a lua5.4 that finds the plugin; BUILD the build directory, SOURCE the
-- directory of README.md (default: the current one).
--
-- `--> text` in Lua, `#> text` in Python and shell and `//> text` in C is a line that the snippet
-- prints. All of them together, in order, are all that it prints; shell commands without any are
-- free to print. Blanks count as one, `...` stands for anything.

local moonlet = require "moonlet"
local py = moonlet.python

local build = assert(arg[1], "usage: readme.lua BUILD [SOURCE]")
local source = arg[2] or "."
local failures = 0

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

-- The fenced blocks, each with its language and the line it starts at.
local function snippets(text)
  local list, number, current = {}, 0, nil
  for line in text:gmatch "([^\n]*)\n" do
    number = number + 1
    local language = line:match "^```(.*)"
    if not language then
      if current then table.insert(current, line) end
    elseif current then
      table.insert(list, current)
      current = nil
    else
      current = { language = language, line = number + 1 }
    end
  end
  assert(not current, "a snippet has no end")
  return list
end

local function squeeze(line) return (line:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")) end

-- Whether the printed `text` has exactly the wanted lines; else what is wrong.
local function compare(wanted, text)
  local got = {}
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    if line:find "%S" then table.insert(got, squeeze(line)) end
  end
  for i = 1, math.max(#wanted, #got) do
    local pattern = (wanted[i] or ""):gsub("%p", "%%%0"):gsub("%%%.%%%.%%%.", ".-")
    if not wanted[i] or not got[i] or not got[i]:find("^" .. pattern .. "$") then
      return false, ("output line %d: %q expected, got %q"):format(i, wanted[i] or "", got[i] or "")
    end
  end
  return true
end

local function wanted_of(snippet, mark)
  local list = {}
  for _, line in ipairs(snippet) do
    local text = line:match("^" .. mark .. "> (.*)") or line:match("%s" .. mark .. "> (.*)")
    if text then table.insert(list, squeeze(text)) end
  end
  return list
end

-- ------------------------------------------------------------------------------ Lua and Python

local printed = {}
local environment = setmetatable({ moonlet = moonlet, py = py }, { __index = _G })

function environment.print(...)
  local line = {}
  for i = 1, select("#", ...) do line[i] = tostring((select(i, ...))) end
  table.insert(printed, table.concat(line, " "))
end

-- What Python prints goes to the same place; print itself stays what it is.
local stdout = py.eval [[type("Stdout", (), {"write": lambda self, s: self.to(s) and None,
                                            "flush": lambda self: None})()]]
function stdout.to(text)
  if text ~= "\n" then table.insert(printed, text) end
end

local function capture(f, ...)
  local sys = py.import "sys"
  local before = sys.stdout
  printed = {}
  sys.stdout = stdout
  local ok, err = pcall(f, ...)
  sys.stdout = before
  return ok, ok and table.concat(printed, "\n") or tostring(err)
end

local runners = {}

function runners.lua(snippet)
  local chunk, err = load(table.concat(snippet, "\n"), "=README.md", "t", environment)
  if not chunk then return false, err end
  local ok, text = capture(chunk)
  if not ok then return false, text end
  return compare(wanted_of(snippet, "%-%-"), text)
end

local python_globals = py.builtins.dict()
function runners.python(snippet)
  local ok, text = capture(py.exec, table.concat(snippet, "\n"), python_globals)
  if not ok then return false, text end
  return compare(wanted_of(snippet, "#"), text)
end


for _, snippet in ipairs(snippets(read(source .. "/README.md"))) do
  local run = runners[snippet.language]
  if run then
    local ok, problem = run(snippet)
    local name = ("README.md:%d (%s)"):format(snippet.line, snippet.language)
    print((ok and "ok     " or "FAILED ") .. name)
    if not ok then
      print("       " .. tostring(problem))
      failures = failures + 1
    end
  end
end
os.exit(failures == 0, true)
