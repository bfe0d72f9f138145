-- What the Lua rows measure, greenlets beside coroutines; otherwise as workload.py.

local moonlet = require "moonlet"
local py = moonlet.python

local M = {}

-- Nanoseconds for each of the n operations of `loop`.
local function per_operation(n, loop, ...)
  local start = os.clock()
  loop(n, ...)
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

local function with_method(n, g)
  for _ = 1, n do g:switch() end
end

local function with_function(n, f, argument)
  for _ = 1, n do f(argument) end
end

local function suspended(run)
  local g = moonlet.greenlet(run)
  g:switch(moonlet.current())
  return g
end

local function suspended_coroutine()
  local co = coroutine.create(yielder)
  coroutine.resume(co)
  return co
end

function M.lua_lua(n) return per_operation(n, with_method, suspended(answer)) end

-- The method looked up once, as one does with coroutine.resume.
function M.lua_lua_hoisted(n)
  local g = suspended(hoisted_answer)
  return per_operation(n, with_function, g.switch, g)
end

function M.lua_python(n)
  py.exec "def answer(parent):\n    switch = parent.switch\n    while True: switch()"
  return per_operation(n, with_method, suspended(py.eval "answer"))
end

function M.coroutine_resume(n)
  return per_operation(n, with_function, coroutine.resume, suspended_coroutine())
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
  local greenlet = moonlet.greenlet
  return per_operation(n, function()
    for _ = 1, n do greenlet(nothing):switch() end
  end)
end

function M.create_coroutine(n)
  local create, resume = coroutine.create, coroutine.resume
  return per_operation(n, function()
    for _ = 1, n do resume(create(nothing)) end
  end)
end

local function resident()
  local f <close> = assert(io.open "/proc/self/statm")
  return f:read "n" and f:read "n" * 4096
end

local function bytes_each(n, make, ...)
  local kept = {}
  collectgarbage()
  local before = resident()
  for i = 1, n do kept[i] = make(...) end
  collectgarbage()
  return (resident() - before) / #kept
end

function M.memory_lua(n) return bytes_each(n, suspended, answer) end
function M.memory_coroutine(n) return bytes_each(n, suspended_coroutine) end

-- Of `size` that are suspended each in turn: there and back.
local function round(n, size, make, run, go)
  local all = {}
  for i = 1, size do all[i] = make(run) end
  for i = 1, size do go(all[i]) end
  local laps = math.max(1, n // size)
  collectgarbage()
  return per_operation(laps * size, function()
    for _ = 1, laps do
      for i = 1, size do go(all[i]) end
    end
  end)
end

local function go_to(g) g:switch() end
local function go_to_coroutine(co) coroutine.resume(co) end

function M.round(n, size) return round(n, size, suspended, answer, go_to) end
function M.round_coroutine(n, size) return round(n, size, suspended_coroutine, nil, go_to_coroutine) end

-- As workload.py: seconds for creating, going to each once more, finishing; bytes at the peak.
local function million(n, make, go)
  local all = {}
  local start = os.clock()
  for i = 1, n do all[i] = make() end
  local created = os.clock()
  for i = 1, n do go(all[i]) end
  local switched = os.clock()
  for i = 1, n do go(all[i]) end
  all = nil -- luacheck: ignore
  collectgarbage()
  local finished = os.clock()
  local f <close> = assert(io.open "/proc/self/status")
  local peak = f:read "a":match "VmHWM:%s*(%d+)"
  return ("%f %f %f %d"):format(created - start, switched - created, finished - switched, peak * 1024)
end

local function three_times(parent)
  parent:switch()
  parent:switch()
end

local function three_times_coroutine()
  coroutine.yield()
  coroutine.yield()
end

function M.million(n)
  return million(n, function() return suspended(three_times) end, go_to)
end

function M.million_coroutine(n)
  return million(n, function()
    local co = coroutine.create(three_times_coroutine)
    coroutine.resume(co)
    return co
  end, go_to_coroutine)
end

for line in io.lines() do
  local name, n = line:match "(%S+) (%d+)"
  if M[name] then
    print(M[name](math.tointeger(n)))
  else
    local operation, argument = name:match "(.*)_(%d+)"
    print(M[operation](math.tointeger(n), math.tointeger(argument)))
  end
  io.flush()
end
