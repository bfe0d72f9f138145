-- Supervisors: they start tasks, and start them again when they end.

local moonlet = require "moonlet"
local native = require "moonlet.native"
local hub = require "moonlet.hub"
local scope = require "moonlet.scope"
local task = require "moonlet.task"

local supervisor = {}

local STRATEGIES = { one_for_one = true, one_for_all = true, rest_for_one = true }
local RESTARTS = { permanent = true, transient = true, temporary = true }
local SHUTDOWN = 5 -- seconds

-- --------------------------------------------------------------------------------- options

local function bad_option(of, key, expected, value)
    local text = "bad option '%s' of %s (%s expected, got %s)"
    local shown = type(value) == "string" and ("'%s'"):format(value) or hub.type_name(value)
    hub.misuse("TypeError", text:format(key, of, expected, shown))
end

local function check_number(of, key, value, least)
    if type(value) ~= "number" then
        bad_option(of, key, "number", value)
    elseif value < least or value ~= value then
        hub.misuse("ValueError", ("bad option '%s' of %s (%g or more expected, got %s)"):format(key, of, least, value))
    end
    return value
end

local function check_choice(of, key, value, choices)
    if not choices[value] then
        local names = {}
        for name in pairs(choices) do
            names[#names + 1] = ("'%s'"):format(name)
        end
        table.sort(names)
        local text = "bad option '%s' of %s (%s expected, got %s)"
        hub.misuse("ValueError", text:format(key, of, table.concat(names, ", "), tostring(value)))
    end
    return value
end

local child_keys = { name = true, start = true, restart = true, shutdown = true }

-- A child: what is known of it, and its task while it has one.
local function make_child(spec, index)
    local of = ("child %d of 'supervisor'"):format(index)
    if type(spec) ~= "table" then
        spec = { start = spec }
    end
    if spec.name ~= nil then
        of = ("child '%s' of 'supervisor'"):format(tostring(spec.name))
    end
    local arguments = { n = spec.n or 0 }
    for key, value in pairs(spec) do
        if math.type(key) == "integer" and key > 0 then
            arguments[key] = value
            arguments.n = math.max(arguments.n, key)
        elseif key ~= "n" and not child_keys[key] then
            hub.misuse("ValueError", ("unknown option '%s' of %s"):format(tostring(key), of))
        end
    end
    local ok = native.pcall(hub.check_callable, spec.start, "supervisor", 1)
    if not ok then
        bad_option(of, "start", "function or Python callable", spec.start)
    end
    if spec.name ~= nil and type(spec.name) ~= "string" then
        bad_option(of, "name", "string", spec.name)
    end
    return {
        name = spec.name,
        start = spec.start,
        arguments = arguments,
        restart = check_choice(of, "restart", spec.restart or "permanent", RESTARTS),
        shutdown = check_number(of, "shutdown", spec.shutdown or SHUTDOWN, 0),
        task = nil,
    }
end

local option_keys = {
    strategy = true, intensity = true, period = true, backoff = true, max_backoff = true, children = true, name = true,
}

local function make(options)
    if type(options) ~= "table" then
        hub.bad_argument(1, "supervisor", "table", options)
    end
    local of = "'supervisor'"
    for key in pairs(options) do
        if not option_keys[key] then
            hub.misuse("ValueError", ("unknown option '%s' of %s"):format(tostring(key), of))
        end
    end
    if type(options.children) ~= "table" then
        bad_option(of, "children", "list of children", options.children)
    end
    if options.name ~= nil and type(options.name) ~= "string" then
        bad_option(of, "name", "string", options.name)
    end
    local self = {
        name = options.name or "supervisor",
        strategy = check_choice(of, "strategy", options.strategy or "one_for_one", STRATEGIES),
        intensity = check_number(of, "intensity", options.intensity or 3, 0),
        period = check_number(of, "period", options.period or 5, 0),
        backoff = check_number(of, "backoff", options.backoff or 0, 0),
        max_backoff = check_number(of, "max_backoff", options.max_backoff or 30, 0),
        list = {},
        by_task = {},
        ended = {}, -- tasks that have ended and were not looked at yet
        restarts = {}, -- when that happened
    }
    local names = {}
    for i, spec in ipairs(options.children) do
        local child = make_child(spec, i)
        if child.name and names[child.name] then
            hub.misuse("ValueError", ("two children of 'supervisor' have the name '%s'"):format(child.name))
        end
        names[child.name or i] = true
        self.list[i] = child
    end
    return self
end

-- --------------------------------------------------------------------------------- children

-- A task of the supervisor has ended.
local function on_end(s, t)
    if t.is_daemon then
        s.daemons = s.daemons - 1
    end
    local self = s.supervisor
    table.insert(self.ended, t)
    local entry = self.entry
    if entry then
        self.entry = nil
        hub.wake(entry)
    end
    return true -- its error is nobody else's
end

local function start(self, child)
    local arguments = child.arguments
    local t = task.create(self.scope, child.start, table.unpack(arguments, 1, arguments.n))
    task.see(t) -- its error is known here
    if child.name then
        t.label = child.name
    end
    child.task = t
    self.by_task[t] = child
end

-- Waits until `t` has ended, however cancelled the supervisor is. False: not within `seconds`.
local function wait_end(self, t, seconds)
    local deadline = hub.now() + seconds
    while not t.finished do
        local left = deadline - hub.now()
        if left <= 0 then
            return false
        end
        local entry = { task = hub.self(), what = "end of child", on = t, shielded = true }
        self.entry = entry
        local ok, err = native.pcall(hub.wait, entry, left)
        self.entry = nil
        if not ok and not native.is_cancel(err) then
            self.error = self.error or { err } -- somebody has thrown it: raised at the end
        end
    end
    return true
end

-- Ends a child: cancels it, and if it goes on all the same ends each of its waits, shielded or not.
local function stop(self, child, reason)
    local t = child.task
    if not t then
        return
    end
    if not t.finished then
        t:cancel(reason)
        local patience = child.shutdown
        while not wait_end(self, t, patience) do
            if t.entry then
                hub.fail(t.entry, moonlet.Cancelled(reason))
            end
            patience = math.max(0.01, child.shutdown)
        end
    end
    self.by_task[t] = nil -- its end was wanted
    child.task = nil
end

local function stop_from(self, first, reason)
    for i = #self.list, first, -1 do
        stop(self, self.list[i], reason)
    end
end

local function index_of(self, child)
    for i, other in ipairs(self.list) do
        if other == child then
            return i
        end
    end
end

-- Whether a child that has ended is started again.
local function is_wanted(child, t)
    return child.restart == "permanent" or (child.restart == "transient" and t.finished == "failed")
end

-- Counts a restart. False: there were too many.
local function count_restart(self)
    local now = hub.now()
    local kept = {}
    for _, time in ipairs(self.restarts) do
        if now - time <= self.period then
            kept[#kept + 1] = time
        end
    end
    kept[#kept + 1] = now
    self.restarts = kept
    return #kept <= self.intensity
end

local function too_many(self, child, t)
    local what = ("%s: more than %g restarts within %g seconds; the last one to end was %s"):format(
        self.name, self.intensity, self.period, child.name or t.name)
    local err = moonlet.python.builtins.RuntimeError(what)
    if t.finished == "failed" then
        err.__cause__ = native.exception_of(t.error)
    end
    error(err, 0)
end

-- A pause before a restart: longer for each one within the period.
local function wait_backoff(self)
    if self.backoff > 0 then
        hub.sleep(math.min(self.max_backoff, self.backoff * 2 ^ (#self.restarts - 1)))
    end
end

-- Whether an error is meant for the whole program.
local function is_exit(err)
    local py = moonlet.python
    return py.isinstance(err, py.builtins.SystemExit) or py.isinstance(err, py.builtins.KeyboardInterrupt)
end

local function handle(self, t)
    local child = self.by_task[t]
    if not child or child.task ~= t then
        return
    end
    self.by_task[t] = nil
    child.task = nil
    if t.finished == "failed" and is_exit(t.error) then
        error(t.error, 0)
    end
    if not is_wanted(child, t) then
        return
    end
    if not count_restart(self) then
        too_many(self, child, t)
    end
    local first = self.strategy == "one_for_all" and 1 or index_of(self, child)
    local last = self.strategy == "one_for_one" and first or #self.list
    local again = {}
    for i = first, last do
        local other = self.list[i]
        -- What has ended for good stays so, and a temporary one that is ended here.
        again[i] = other == child or (other.task ~= nil and other.restart ~= "temporary")
    end
    if last > first then
        for i = last, first, -1 do
            stop(self, self.list[i], "a child of its supervisor has ended")
        end
    end
    wait_backoff(self)
    for i = first, last do
        if again[i] then
            start(self, self.list[i])
        end
    end
end

local function runs(self)
    for _, child in ipairs(self.list) do
        if child.task then
            return true
        end
    end
    return false
end

local function loop(self)
    for _, child in ipairs(self.list) do
        start(self, child)
    end
    while #self.ended > 0 or runs(self) do
        local t = table.remove(self.ended, 1)
        if t then
            handle(self, t)
        else
            local entry = { task = hub.self(), what = "children", on = self.scope, undo = function()
                self.entry = nil
            end }
            self.entry = entry
            hub.wait(entry)
        end
    end
end

local Scope = {
    __name = "supervisor",
    __tostring = function(s)
        return ("supervisor: %d tasks"):format(s.children)
    end,
}

local function supervise(self)
    local me = hub.self()
    -- A scope beside those of the task: what is cancelled here ends its children one by one.
    local s = setmetatable({
        kind = "supervisor", label = self.name, supervisor = self,
        children = 0, daemons = 0, shielded = true, on_end = on_end,
    }, Scope)
    self.scope = s
    scope.attach(s, me.scope)
    local ok, err = native.pcall(loop, self)
    stop_from(self, 1, "its supervisor ends")
    scope.detach(s)
    if not ok then
        error(err, 0)
    elseif self.error then
        error(self.error[1], 0)
    end
end

--- moonlet.supervise{...}: the same as moonlet.supervisor, in the task that calls: returns when all children
--- have ended for good. So supervisors can be children of others.
function supervisor.supervise(options)
    supervise(make(options))
end

--- moonlet.supervisor{children = {...}, strategy=, intensity=, period=, backoff=, max_backoff=, name=}: a task that
--- starts children, in their order, and starts them again when they end. Each is a table: `start`, what
--- its task calls, with what else is in the list part; `name`; `restart`, "permanent" (the default: it is
--- always started again), "transient" (only after an error) or "temporary" (never); `shutdown`, how many
--- seconds it has to end when it is cancelled, 5 by default: then each wait of it ends, shielded or not.
--- `strategy`: "one_for_one", the default: the one that has ended is started again; "one_for_all": all others
--- are ended and all started; "rest_for_one": so are those after it. With more than `intensity` (3)
--- restarts within `period` (5) seconds it ends all children, the last one first, and fails with an error
--- whose cause is the last child's. So it ends them when it is cancelled. `backoff`: seconds to wait before
--- a restart, twice as long for each one within the period, `max_backoff` (30) at most. It ends when all
--- children have ended for good.
function supervisor.supervisor(options)
    local self = make(options)
    local t = task.create(hub.base, supervise, self)
    t.label = self.name
    return t
end

--- For Python: a table of options, to which children are added.
function supervisor.options(strategy, intensity, period, backoff, max_backoff, name)
    return {
        strategy = strategy, intensity = intensity, period = period, backoff = backoff,
        max_backoff = max_backoff, name = name, children = {},
    }
end

function supervisor.add(options, start_function, name, restart, shutdown, ...)
    local child = table.pack(...)
    child.start, child.name, child.restart, child.shutdown = start_function, name, restart, shutdown
    table.insert(options.children, child)
end

return supervisor
