-- What the Lua rows measure, greenlets beside coroutines. Reads lines `NAME N` from stdin and
-- answers each with what one of N operations took: nanoseconds of processor time, for memory
-- bytes.

local moonlet = require "moonlet"

local M = {}

-- Nanoseconds of each of the n calls that `loop` makes.
local function per_operation(n, loop)
  local start = os.clock()
  loop()
  return (os.clock() - start) * 1e9 / n
end

local function answer(parent)
  while true do parent:switch() end
end

local function hoisted_answer(parent)
  local switch = parent.switch
  while true do switch(parent) end
end

local function yielder()
  local yield = coroutine.yield
  while true do yield() end
end

local function round_trips(n, run)
  local g = moonlet.greenlet(run)
  g:switch(moonlet.current())
  local result = per_operation(n, function()
    for _ = 1, n do g:switch() end
  end)
  g:throw()
  return result
end

function M.lua_lua(n) return round_trips(n, answer) end

-- The method looked up once, as one does with coroutine.resume.
function M.lua_lua_hoisted(n)
  local g = moonlet.greenlet(hoisted_answer)
  g:switch(moonlet.current())
  local switch = g.switch
  local result = per_operation(n, function()
    for _ = 1, n do switch(g) end
  end)
  g:throw()
  return result
end

function M.lua_python(n)
  local py = moonlet.python
  py.exec "def answer(parent):\n    switch = parent.switch\n    while True: switch()"
  return round_trips(n, py.eval "answer")
end

function M.coroutine_resume(n)
  local resume, co = coroutine.resume, coroutine.create(yielder)
  resume(co)
  return per_operation(n, function()
    for _ = 1, n do resume(co) end
  end)
end

function M.coroutine_wrap(n)
  local resume = coroutine.wrap(yielder)
  resume()
  return per_operation(n, function()
    for _ = 1, n do resume() end
  end)
end

local function nothing() end

function M.create_lua(n)
  return per_operation(n, function()
    for _ = 1, n do moonlet.greenlet(nothing):switch() end
  end)
end

function M.create_coroutine(n)
  return per_operation(n, function()
    for _ = 1, n do coroutine.resume(coroutine.create(nothing)) end
  end)
end

local function resident()
  local f <close> = assert(io.open "/proc/self/statm")
  return f:read "n" and f:read "n" * 4096
end

local function bytes_each(n, make)
  local kept = {}
  collectgarbage()
  local before = resident()
  for i = 1, n do kept[i] = make() end
  collectgarbage()
  return (resident() - before) / #kept
end

function M.memory_lua(n)
  local main = moonlet.current()
  return bytes_each(n, function()
    local g = moonlet.greenlet(answer)
    g:switch(main)
    return g
  end)
end

function M.memory_coroutine(n)
  return bytes_each(n, function()
    local co = coroutine.create(yielder)
    coroutine.resume(co)
    return co
  end)
end

for line in io.lines() do
  local name, n = line:match "(%S+) (%d+)"
  print(M[name](math.tointeger(n)))
  io.flush()
end
