-- The names of the scheduler in the module `moonlet`, each with the file that defines it: loaded
-- when a name of it is first asked for.

local home = {
    hub = { "run", "step", "pollfd", "current_task", "sleep", "now", "on_error" },
    task = { "spawn", "spawn_later", "defer", "wait_all", "wait_any" },
    scope = { "cancel_scope", "move_on_after", "move_on_at", "fail_after", "fail_at", "shield", "checkpoint" },
    nursery = { "nursery" },
    aio = { "await", "new_event_loop" },
    threads = { "in_thread", "set_thread_limit", "wait" },
    poll = { "wait_readable", "wait_writable", "notify_closing" },
    time = { "at", "every", "virtual_clock" },
    channel = { "channel" },
    select = { "select" },
    queue = { "queue", "lifo_queue", "priority_queue" },
    sync = { "event", "lock", "condition" },
    capacity = { "semaphore", "capacity_limiter" },
    future = { "future" },
    pool = { "pool" },
    trace = { "set_trace", "trace_to", "set_watchdog" },
    frames = { "frames", "next_frame", "wait_frames", "frame_clock" },
    supervisor = { "supervisor", "supervise" },
    inspect = { "tasks", "dump", "stats" },
}

-- Files that are a name of their own: a table of functions.
local whole = { net = true, fs = true, process = true, signal = true }

local file_of = {}
for file, names in pairs(home) do
    for _, name in ipairs(names) do
        file_of[name] = file
    end
end

for name in pairs(whole) do
    file_of[name] = name
end

local function find(moonlet, name)
    local file = file_of[name]
    if not file then
        return nil
    end
    local value = require("moonlet." .. file)
    if not whole[name] then
        value = value[name]
    end
    rawset(moonlet, name, value)
    return value
end

local function each(moonlet)
    for name in pairs(file_of) do
        find(moonlet, name)
    end
    return next, moonlet, nil
end

local moonlet = ...
setmetatable(moonlet, { __index = find, __pairs = each })
