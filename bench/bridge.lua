-- What the rows of the bridge measure from Lua, on moonlet and on lupa; otherwise as workload.lua.
-- Under lupa bridge.py runs this, with lupa's table `python` and itself as arguments.

local py, subjects = ...
local kw
if arg then
  py = require("moonlet").python
  py.import("sys").path:insert(0, arg[0]:match "^(.*)/")
  subjects = py.import "bridge"
  kw = py.kw
else
  kw = py.args
end

local M = {}

-- Nanoseconds for each of the n operations of `loop`. What earlier ones have left is collected
-- before, as its amount is part of the price.
local function per_operation(n, loop, ...)
  collectgarbage()
  local start = os.clock()
  loop(n, ...)
  return (os.clock() - start) * 1e9 / n
end

-- A measurement of `loop`, which gets n and the object of bridge.py named `subject`.
local function measure(name, subject, loop)
  M[name] = function(n) return per_operation(n, loop, subjects[subject]) end
end

measure("call", "nothing", function(n, f)
  for _ = 1, n do f() end
end)

measure("call_int", "two", function(n, f)
  for i = 1, n do f(i, i) end
end)

measure("call_str", "two", function(n, f)
  for _ = 1, n do f("abc", "def") end
end)

measure("call_kw", "keyword", function(n, f)
  for i = 1, n do f(kw { a = i }) end
end)

measure("get", "instance", function(n, o)
  local x
  for _ = 1, n do x = o.x end
  return x
end)

measure("set", "instance", function(n, o)
  for i = 1, n do o.x = i end
end)

measure("method", "instance", function(n, o)
  for _ = 1, n do o:m() end
end)

measure("method_int", "instance", function(n, o)
  for i = 1, n do o:m2(i, i) end
end)

measure("list", "numbers", function(n, list)
  local x
  for i = 1, n do x = list[i % 1000] end
  return x
end)

measure("dict", "dictionary", function(n, d)
  local keys, x = {}, nil
  for i = 0, 7 do keys[i] = "key" .. i end
  for i = 1, n do x = d[keys[i & 7]] end
  return x
end)

measure("iter", "numbers", function(n, list)
  assert(n % 1000 == 0)
  local count = 0
  for _ = 1, n // 1000 do
    for _ in py.iter(list) do count = count + 1 end
  end
  assert(count == n)
end)

measure("raise", "raises", function(n, f)
  for _ = 1, n do pcall(f) end
end)

function M.object(n)
  return per_operation(n, function(_, object)
    for _ = 1, n do object() end
  end, py.builtins.object)
end

-- From Python.

local function h(_, _) end

function M.py_call(n) return subjects.py_call(n, h) end

for _, name in ipairs { "py_getitem", "py_getattr", "py_setitem", "py_setattr" } do
  M[name] = function(n) return subjects[name](n, { x = 1000 }) end
end

for line in io.lines() do
  local name, n = line:match "(%S+) (%d+)"
  print(M[name](math.tointeger(n)))
  io.flush()
end
