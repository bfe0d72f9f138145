-- Which functions of Python's standard library are the longest, which are nested deepest? Lua
-- schedules and ranks; Python parses.
--
--     moonlet stdlib_survey.lua [FILES]      look at no more than FILES files
--
-- Each worker is a Python greenlet that walks syntax trees recursively. With every function it
-- meets it switches to Lua, from as deep in the recursion as it happens to be, and goes on from
-- there when Lua switches back. It is plain recursive code: no generator, no callback, no async.

local moonlet = require "moonlet"
local py = moonlet.python

local WORKERS <const> = 12 -- at a time
local ENOUGH <const> = 200 -- functions in one file; then its worker is killed
local RANKS <const> = 8 -- lines of each table

py.exec [[
import ast
import os
import sysconfig
from greenlet import getcurrent


class Walker(ast.NodeVisitor):
    def __init__(self):
        self.scopes = []

    def visit_ClassDef(self, node):
        self.scopes.append(node.name)
        self.generic_visit(node)
        self.scopes.pop()

    def visit_FunctionDef(self, node):
        self.scopes.append(node.name)
        length = node.end_lineno - node.lineno + 1
        name = ".".join(self.scopes)
        getcurrent().parent.switch(name, node.lineno, length, len(self.scopes))
        self.generic_visit(node)
        self.scopes.pop()

    visit_AsyncFunctionDef = visit_FunctionDef


def work(next_path, leave):
    """Walks one file after the other, until next_path() gives None."""
    try:
        for path in iter(next_path, None):
            with open(path, "rb") as file:
                tree = ast.parse(file.read(), path)
            Walker().visit(tree)
    finally:
        leave()


def sources(root):
    for where, directories, files in os.walk(root):
        directories[:] = sorted(d for d in directories if not d.endswith("-packages"))
        for name in sorted(files):
            if name.endswith(".py"):
                yield os.path.join(where, name)
]]
local python = py.import "__main__" -- where py.exec has put the definitions

-- The files to read. The first is broken, so that there is one such wherever this runs.
local root = python.sysconfig.get_paths().stdlib
local limit = tonumber(arg[1]) or math.huge
local broken = os.tmpname()
local paths = { broken }
assert(io.open(broken, "w")):write("def broken(:\n"):close()
for path in py.iter(python.sources(root)) do
    if #paths >= limit then break end
    table.insert(paths, path)
end

local functions, killed, failures = {}, {}, {}
local taken, started, left, lines = 0, 0, 0, 0

-- Lets a worker go on until it has found a function, or has come to an end.
local function step(worker, ...)
    local ok, name, line, length, depth = pcall(worker.greenlet.switch, worker.greenlet, ...)
    if not ok then -- an exception in Python, which has ended the worker; it is in `name`
        if not py.isinstance(name, py.builtins.Exception) then error(name, 0) end
        table.insert(failures, tostring(name))
    elseif name then
        local path = worker.path:sub(#root + 2)
        local found = { where = path .. ":" .. line, name = name, length = length, depth = depth }
        table.insert(functions, found)
        worker.count, lines = worker.count + 1, lines + length
        if worker.count == ENOUGH then
            worker.greenlet:throw() -- GreenletExit: every `finally` runs, up through the recursion
            table.insert(killed, found.where)
        end
    end
end

-- Starts a worker: its greenlet, the path it is at, and how many functions it has found there.
local function start_worker()
    local worker = { greenlet = moonlet.greenlet(python.work) }

    local function next_path()
        taken = taken + 1
        worker.path, worker.count = paths[taken], 0
        return worker.path
    end

    local function leave() left = left + 1 end

    started = started + 1
    step(worker, next_path, leave) -- the first switch brings the arguments
    return worker
end

local workers = {}
repeat
    while taken < #paths and #workers < WORKERS do
        table.insert(workers, start_worker())
    end
    for i = #workers, 1, -1 do
        if not workers[i].greenlet.dead then step(workers[i]) end
        if workers[i].greenlet.dead then table.remove(workers, i) end
    end
until #workers == 0 and taken >= #paths
os.remove(broken)

local function rank(title, key)
    table.sort(functions, function(a, b)
        if a[key] ~= b[key] then return a[key] > b[key] end
        return a.where < b.where
    end)
    print(("%s\n%7s%7s  %-50s %s"):format(title, "lines", "depth", "function", "where"))
    for i = 1, math.min(RANKS, #functions) do
        local f = functions[i]
        print(("%7d%7d  %-50s %s"):format(f.length, f.depth, f.name, f.where))
    end
end

rank("The longest functions", "length")
rank("\nThe most nested functions", "depth")
print(("\nKilled at function %d\n    %s"):format(ENOUGH, table.concat(killed, "\n    ")))
print("\nFailed\n    " .. table.concat(failures, "\n    "))
print(("\n%d functions with %d lines in %d files; of %d workers, %d have left through `finally`")
    :format(#functions, lines, #paths, started, left))
