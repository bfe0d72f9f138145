-- What tasks do: for reports and tools.

local moonlet = require "moonlet"
local native = require "moonlet.native"
local hub = require "moonlet.hub"

local inspect = {}

-- Of the tasks in the text of a deadlock so many are told with their stacks, and so many in all.
local WITH_STACK, TOLD = 20, 100
-- Lines of a stack.
local INNERMOST, OUTERMOST = 12, 8

-- ------------------------------------------------------------------------------------- stacks

-- The scheduler's own frames, and C functions among them.
local function is_internal(line)
    return line:find "^\t%[C%]: in "
        or line:find "^\t%(%.%.%.tail calls%.%.%.%)"
        or line:find "^\tmoonlet/[%w_]+%.lua:"
        or line:find "^\t<moonlet [%w_]+%.py>:"
end

-- A stack as text: without its title, the innermost frames that are the scheduler's, and the middle of
-- a long one.
local function shorten(text)
    local lines = {}
    for line in text:gmatch "[^\n]+" do
        if line ~= "stack traceback:" then
            lines[#lines + 1] = line
        end
    end
    local first = 1
    while lines[first] and is_internal(lines[first]) do
        first = first + 1
    end
    if first > #lines then
        first = 1 -- there are no others
    end
    local last = #lines
    while last > first and lines[last]:find "^\t%[C%]: in " do
        last = last - 1
    end
    local count = last - first + 1
    if count > INNERMOST + OUTERMOST + 1 then
        local skipped = ("\t...\t(skipping %d levels)"):format(count - INNERMOST - OUTERMOST)
        local rest = table.concat(lines, "\n", last - OUTERMOST + 1, last)
        return table.concat({ table.concat(lines, "\n", first, first + INNERMOST - 1), skipped, rest }, "\n")
    end
    return table.concat(lines, "\n", first, last)
end

--- The stack of a task as text, the frames of both languages, innermost first; empty if it has none.
function inspect.stack(task)
    local g = task.greenlet
    if task.finished or task.arguments or not g then
        return ""
    end
    local ok, text = native.pcall(native.stack_of, g)
    return ok and shorten(text) or ""
end

--- The stack of the running code.
function inspect.stack_here()
    return shorten(native.stack_of(moonlet.current()))
end

-- A value as text, whatever its __tostring does.
local function describe(value)
    local ok, text = native.call_barred("__tostring cannot wait here", tostring, value)
    return ok and text or "?"
end
inspect.describe = describe

--- What an entry (see hub.wait) waits for, as text.
function inspect.waits(entry)
    local what = entry.what or "?"
    local on = entry.on
    if on == nil then
        return what
    end
    local list = type(on) == "table" and getmetatable(on) == nil and on
    if not list then
        return ("%s on %s"):format(what, describe(on))
    end
    local texts = {}
    for i = 1, math.min(#list, 5) do
        texts[i] = describe(list[i])
    end
    if #list > 5 then
        texts[6] = ("%d more"):format(#list - 5)
    end
    return #texts > 0 and ("%s on %s"):format(what, table.concat(texts, ", ")) or what
end

-- ----------------------------------------------------------------------------------- the tree

local function seconds(time)
    return ("%.3f s"):format(time)
end

local Node = { __name = "task tree" }
local add_line

function add_line(lines, node, depth, stacks)
    local indent = ("  "):rep(depth)
    local text = ("%s: %s"):format(node.name, node.status)
    if node.kind == "task" then
        text = text .. (", used %s"):format(seconds(node.used))
    end
    if node.waits then
        text = text .. (", waits for %s: %s"):format(seconds(node.since), node.waits)
    end
    lines[#lines + 1] = indent .. text
    if stacks and node.task then
        local stack = inspect.stack(node.task)
        if stack ~= "" then
            lines[#lines + 1] = (indent .. stack:gsub("\n", "\n" .. indent))
        end
    end
    for _, child in ipairs(node.children) do
        add_line(lines, child, depth + 1, stacks)
    end
end

function Node.__tostring(node)
    local lines = {}
    if node.kind then
        add_line(lines, node, 0)
    else
        for _, root in ipairs(node) do
            add_line(lines, root, 0)
        end
        if #lines == 0 then
            lines[1] = "no tasks"
        end
    end
    return table.concat(lines, "\n")
end

local add_children

local function is_task(scope)
    return rawget(scope, "number") ~= nil
end

local function task_node(task, time)
    local node = setmetatable({
        kind = "task",
        task = task,
        name = task.name,
        status = task.status,
        used = task.used,
        children = {},
    }, Node)
    local running, switched = hub.switched()
    if running == task and not task.entry and not task.finished and not task.arguments then
        node.status = "running"
        node.used = node.used + time - switched
    end
    local entry = task.entry
    if entry then
        node.waits = inspect.waits(entry)
        node.since = time - task.value
        node.what, node.on = entry.what, entry.on
    end
    add_children(node.children, task, time)
    return node
end

-- Adds what is in a scope: tasks; nurseries and supervisors, which have tasks; of other scopes what is
-- in them.
function add_children(list, scope, time)
    local child = scope.first
    while child do
        if is_task(child) then
            list[#list + 1] = task_node(child, time)
        elseif rawget(child, "children") and child.main == nil then
            local node = setmetatable({
                kind = child.kind or "nursery",
                name = child.label or "nursery",
                status = child.cancelled and "cancelled" or "open",
                children = {},
            }, Node)
            add_children(node.children, child, time)
            list[#list + 1] = node
        else
            add_children(list, child, time)
        end
        child = child.after
    end
end

local function by_number(a, b)
    return a.number < b.number
end

-- The greenlets that were not spawned and have waited, if they live.
local function adopted_tasks()
    local _, adopted = hub.all_tasks()
    local list = {}
    for _, task in pairs(adopted) do
        if task.greenlet and not task.greenlet.dead then
            list[#list + 1] = task
        end
    end
    table.sort(list, by_number)
    return list
end

local function tree()
    local time = hub.now_raw()
    local list = setmetatable({}, Node)
    for _, task in ipairs(adopted_tasks()) do
        list[#list + 1] = task_node(task, time)
    end
    add_children(list, hub.root, time)
    return list
end

--- moonlet.tasks(): what there is, as a list of trees: each node a table with `kind`, "task", "nursery"
--- or "supervisor"; `name`; `status`; `children`, a list of nodes; and of a task `task`, the task itself,
--- `used`, the seconds it has run, and if it waits `waits`, for what, a text, and `since`, for how many
--- seconds. tostring(list) and tostring(node) give it as text.
function inspect.tasks()
    require "moonlet.task"
    return tree()
end

local function dump_text()
    local lines = {}
    local list = tree()
    local known = false
    local current = native.id_of(moonlet.current())
    local function look(node)
        known = known or (node.task and node.task.id == current)
        for _, child in ipairs(node.children) do
            look(child)
        end
    end
    for _, node in ipairs(list) do
        look(node)
    end
    if not known then
        lines[1] = current == hub.address and "the scheduler: running"
            or moonlet.current().parent and "a greenlet: running"
            or "main: running"
        lines[2] = inspect.stack_here()
    end
    for _, node in ipairs(list) do
        add_line(lines, node, 0, true)
    end
    return table.concat(lines, "\n") .. "\n"
end

--- moonlet.dump([file]): writes all tasks as a tree, with their stacks, to `file` (default: stderr), an
--- object with a method write.
function inspect.dump(file)
    if file == nil then
        file = io.stderr
    else
        local ok, write = native.pcall(function()
            return file.write
        end)
        if not ok or write == nil then
            hub.bad_argument(1, "dump", "file", file)
        end
    end
    require "moonlet.task"
    local text = dump_text()
    if type(file) == "userdata" and io.type(file) == nil then
        file.write(text) -- an object of Python
    else
        file:write(text)
    end
end

--- For the signal SIGQUIT of the program.
function inspect.dump_on_signal()
    local ok, text = native.call_barred("a dump cannot wait", dump_text)
    io.stderr:write("moonlet: tasks\n", ok and text or describe(text) .. "\n")
end

-- --------------------------------------------------------------------------------- deadlocks

local function waiting_tasks(scope, list)
    local child = scope.first
    while child do
        if is_task(child) and child.entry then
            list[#list + 1] = child
        end
        waiting_tasks(child, list)
        child = child.after
    end
    return list
end

--- The text of a deadlock.
function inspect.deadlock()
    local list = waiting_tasks(hub.root, {})
    for _, task in ipairs(adopted_tasks()) do
        if task.entry and task.entry.what ~= "run" then
            list[#list + 1] = task
        end
        waiting_tasks(task, list)
    end
    table.sort(list, by_number)
    local time = hub.now_raw()
    local lines = { "deadlock: nothing can ever run again" }
    for i = 1, math.min(#list, TOLD) do
        local task = list[i]
        local text = "  %s waits: %s, for %s"
        lines[#lines + 1] = text:format(task.name, inspect.waits(task.entry), seconds(time - task.value))
        local stack = i <= WITH_STACK and inspect.stack(task) or ""
        if stack ~= "" then
            lines[#lines + 1] = "  " .. stack:gsub("\n", "\n  ")
        end
    end
    if #list > TOLD then
        lines[#lines + 1] = ("  and %d more"):format(#list - TOLD)
    end
    return table.concat(lines, "\n")
end

-- ----------------------------------------------------------------------------------- numbers

local function count_tasks(scope)
    local count = 0
    local child = scope.first
    while child do
        count = count + (is_task(child) and 1 or 0) + count_tasks(child)
        child = child.after
    end
    return count
end

--- moonlet.stats(): a table of numbers: `tasks`, those that have been spawned and have not ended; `spawned`,
--- all there were; `ready`, those that would run now; `timers`, those that are set; `waits`, how often the
--- scheduler has waited for I/O, timers and other threads: nothing makes it grow in a program that has
--- nothing to do.
function inspect.stats()
    local timers, ready = hub.counts()
    local count = count_tasks(hub.root)
    for _, task in ipairs(adopted_tasks()) do
        count = count + count_tasks(task)
    end
    return {
        tasks = count,
        spawned = require("moonlet.task").count(),
        ready = ready,
        timers = timers,
        waits = hub.waits,
    }
end

return inspect
