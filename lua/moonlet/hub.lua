-- The hub: which task runs, what is ready, timers, and the loop that waits.
--
-- A task is a greenlet with what the scheduler knows of it. One that waits switches to the next task
-- that is ready, or to the hub: a greenlet that starts tasks, is told when they end, and waits for
-- I/O, timers and other threads when nothing is ready.
--
-- What is ready runs in rounds. A round is all that is ready at its start: each once, those of higher
-- priority first, equal ones in the order in which they became ready. What becomes ready meanwhile
-- waits for the next round. So nothing that is ready waits longer than one round.

local moonlet = require "moonlet"
local native = require "moonlet.native"
local arguments = require "moonlet.arguments"
local errors = require "moonlet.errors"
local facing = require "moonlet.facing"
local loop = require "moonlet.loop"
local timers = require "moonlet.timers"

local clock, id, resume = native.clock, native.id, native.resume
local huge, unpack = math.huge, table.unpack

local hub = { used = 0 }

-- What everybody who has the hub needs.
for _, file in ipairs { arguments, errors, facing } do
    for name, f in pairs(file) do
        hub[name] = f
    end
end
hub.luv, hub.flush_luv = loop.luv, loop.flush

-- Between two looks at I/O while something is ready, in seconds.
local POLL_INTERVAL = 0.0005
-- What does not have to wait goes on so many times before others get their turn.
local TURN_LIMIT = 128

-- ------------------------------------------------------------------------------------- state

local hub_greenlet
local start -- makes it
local running = { name = "nobody", used = 0 } -- the task that runs
local since = clock() -- when it was switched to
local tasks = {} -- those that were started: by the address of their greenlets
local adopted = setmetatable({}, { __mode = "v" }) -- and greenlets of others that have waited

local round, at = {}, 1 -- what is left of this round: from round[at] on
local later, later_count = {}, 0 -- what is ready for the next one
local room, SPARE = 0, 32 -- how many these may be; both tables have slots for so many more
local mixed = false -- later has tasks with a priority that is not 0
local queue = timers.new()
local turns = TURN_LIMIT
local next_look = 0 -- when the hub wants to look at timers and I/O
local stepper -- the greenlet that has called step
local step_end = huge
local boss -- what the one who has called run waits for
local external = 0 -- how much is under way that nobody here sees, as in threads
local trace -- a function, or nil
local virtual -- a virtual clock, or nil

local inside -- what the running task is inside of, see hub.set_inside; or nil
local asides = setmetatable({}, { __mode = "k" }) -- the same of tasks that are suspended

--- The scope that tasks belong to which are nobody's.
hub.root = { children = 0, daemons = 0, effective = false }
hub.base = hub.root

local function now()
    return virtual and virtual.time or clock()
end
hub.now_raw = clock

--- moonlet.now(): the scheduler's time in seconds, from an arbitrary start. It never goes back.
--- With a virtual clock it is that clock's.
function hub.now()
    return now()
end

-- --------------------------------------------------------------------------- ready and waiting

local function fill(size)
    for i = 1, size do
        round[i] = round[i] or false
        later[i] = later[i] or false
    end
end

-- Makes more room, before it is needed: so what becomes ready is not lost when there is no memory. If there
-- is none now, it is tried again.
local function make_room()
    local size = 2 * (room + SPARE)
    local ok = native.pcall(fill, size)
    for i = 1, size do
        round[i] = round[i] or nil
        later[i] = later[i] or nil
    end
    if ok then
        room = size - SPARE
    end
end
make_room()

--- Makes `task` run in the next round.
local function ready(task)
    later[later_count + 1] = task
    later_count = later_count + 1
    if task.rank ~= 0 then
        mixed = true
    end
    if later_count > room then
        make_room()
    end
end
hub.ready = ready

local function remove(list, first, last, value)
    for i = first, last do
        if list[i] == value then
            table.move(list, i + 1, last + 1, i)
            return true
        end
    end
    return false
end

-- How many are left of this round.
local function left_in_round()
    local last = at
    while round[last] do
        last = last + 1
    end
    return last - at
end

-- `task` is ready, but goes on right now: nobody needs to switch to it any more.
local function unready(task)
    if remove(later, 1, later_count, task) then
        later_count = later_count - 1
    else
        remove(round, at, at + left_in_round() - 1, task)
    end
end

--- Somebody's priority has changed.
function hub.rerank()
    mixed = true
end

-- Those of higher priority first; otherwise as they are.
local function sort(list, count)
    local order = {}
    for i = 1, count do
        order[list[i]] = i
    end
    table.sort(list, function(a, b)
        local p, q = a.rank, b.rank
        if p ~= q then
            return p > q
        end
        return order[a] < order[b]
    end)
end

--- From now on object:leave() is called when the task that runs is suspended, and object:enter() when it
--- goes on; nil: nothing. For what others must not see meanwhile. Returns what there was.
function hub.set_inside(object)
    local before = inside
    inside = object
    return before
end

local function leave(me)
    asides[me], inside = inside, nil
    asides[me]:leave()
end

local function enter(me)
    inside, asides[me] = asides[me], nil
    inside:enter()
end

local function begin_round()
    round, later = later, round
    at = 1
    if mixed then
        mixed = false
        sort(round, later_count)
    end
    later_count = 0
end

-- The hub has ended, which is found out by `me`, see choose.
local function start_again(me, entry)
    local ok, err = native.pcall(start)
    if not ok then
        if entry and entry.outcome ~= nil then
            unready(me)
        end
        me.entry = false
        error(err, 0)
    end
end

-- Leaves `me`, which waits for `entry`, or is ready if that has its outcome already; nil: as before. Chooses
-- who is next, the hub or a task that can go on, and returns that one's greenlet, or its address; nil if it
-- is `me`. Should it fail for want of memory, `me` neither waits nor is ready.
local function choose(me, by_address, entry)
    turns = TURN_LIMIT
    local time = clock()
    if entry then
        if entry.outcome == nil then
            me.entry = entry
        else
            ready(me)
        end
    end
    me.used = me.used + time - since
    me.value = time -- for reports, until it ends
    since = time
    local next_task = round[at]
    if not next_task and later_count > 0 and time < next_look then
        begin_round()
        next_task = round[at]
    end
    if not next_task or next_task.arguments or time >= step_end then
        if not hub_greenlet then
            start_again(me, entry)
        end
        running = hub
        if inside then
            leave(me)
        end
        return by_address and hub.address or hub_greenlet
    end
    round[at] = nil
    at = at + 1
    if trace then
        trace("switch", next_task)
    end
    running = next_task
    if next_task == me then
        return nil
    end
    if inside then
        leave(me)
    end
    return by_address and next_task.id or next_task.greenlet
end

local function cancel_error(scope)
    while scope and not scope.cancelled do
        scope = scope.parent
    end
    local reason = scope and scope.reason
    local text = reason == nil and "the task was cancelled" or tostring(reason)
    return moonlet.Cancelled(text)
end

-- Undoes what `entry` waits for.
local function undo(entry)
    if entry.armed then
        queue:remove(entry)
    end
    if entry.undo then
        entry:undo()
    end
end

-- Ends a wait: `outcome` is true, or why it ends without what was waited for.
local function finish_wait(entry, outcome)
    local task = entry.task
    if task.entry ~= entry then
        return false
    end
    ready(task)
    entry.outcome = outcome
    task.entry = false
    return true
end

--- Ends the wait of a task for `entry`, which got what it waited for. False: it has ended already.
--- Whoever calls this has taken the entry out of where it was. One that waits for several things at once
--- has an entry for each, with the one it waits for as `whole`; that learns which one has `fired`.
function hub.wake(entry)
    local whole = entry.whole
    if whole then
        if whole.task.entry ~= whole then
            return false
        end
        whole.fired = entry
        entry = whole
    end
    local task = entry.task
    if task.entry ~= entry then
        return false
    end
    entry.outcome = true
    task.entry = false
    later[later_count + 1] = task
    later_count = later_count + 1
    if task.rank ~= 0 then
        mixed = true
    end
    if later_count > room then
        make_room()
    end
    return true
end

local function expire(entry)
    if entry.task.entry == entry then
        if entry.undo then
            entry:undo()
        end
        finish_wait(entry, "timeout")
    end
end

--- Ends the wait for `entry` with an error. False: it has ended already, or is about to with the Lua state.
function hub.fail(entry, err)
    if entry.task.entry ~= entry or native.closing() then
        return false
    end
    undo(entry)
    entry.error = err
    return finish_wait(entry, "error")
end

--- A scope of the waiting `task` was cancelled.
function hub.interrupt(task)
    local entry = task.entry
    if entry and not entry.shielded then
        undo(entry)
        finish_wait(entry, "cancel")
    elseif task.arguments and task.timer then -- it would start later
        queue:remove(task.timer)
        task.timer = nil
        ready(task)
    end
end

-- Registers the wait of the current task for `entry`, see hub.wait. Returns the greenlet to switch to,
-- or nil: nothing else is to run.
local function begin_wait(entry, seconds, by_address)
    local me = entry.task
    if me.scope.effective and not entry.shielded then
        -- Others get their turn: this may be a loop that catches everything.
        if entry.undo then
            entry:undo()
        end
        entry.outcome = "cancel"
    elseif seconds then
        entry.when = now() + seconds
        entry.fire = expire
        queue:add(entry)
    end
    if trace then
        trace("wait", me, entry)
    end
    return choose(me, by_address, entry)
end

-- After the switch.
local function end_wait(entry)
    local me, outcome = entry.task, entry.outcome
    if running ~= me and outcome ~= nil then
        unready(me) -- somebody else has switched here
    end
    running = me
    if asides[me] then
        enter(me)
    end
    if outcome == true then
        if entry.armed then
            queue:remove(entry)
        end
        return true
    elseif outcome == "timeout" then
        return false
    elseif outcome == "cancel" then
        error(cancel_error(me.scope), 0)
    elseif outcome == "error" then
        error(entry.error, 0)
    end
    return nil -- somebody else has switched here
end

-- Somebody has thrown an error into a task that waits for `entry`; or it could not switch to the one that
-- was chosen, who is the next one again (`refused`).
local function drop(entry, refused)
    local me = entry.task
    if refused and running ~= hub and running ~= me then
        at = at - 1
        round[at] = running
    end
    running = me
    if asides[me] then
        enter(me)
    end
    if entry.outcome == nil then
        entry.outcome = "thrown"
        me.entry = false
        undo(entry)
    else
        unready(me)
    end
end

local function abandon(entry, who, err)
    drop(entry, who == nil)
    error(err, 0)
end

--- Suspends the current task until hub.wake(entry), which gives true, or until `seconds` have passed
--- (nil: for ever), which gives false. `entry` is a new table of the caller's: `task`, the current
--- one; `what` it does, a text, and `on`, what it waits for, tell others; `undo(entry)` is called
--- when the wait ends otherwise, to take the entry out of where the caller has put it; `shielded`:
--- a cancel does not end it. Raises what the wait ended with.
local function wait(entry, seconds)
    local target = begin_wait(entry, seconds)
    while true do
        if target then
            local _, ok, who, err = resume(target)
            if not ok then
                abandon(entry, who, err)
            end
        end
        local result = end_wait(entry)
        if result ~= nil then
            return result
        end
        target = choose(entry.task)
    end
end
hub.wait = wait

-- -------------------------------------------------------------------------------- which task

local adopt -- of task.lua

--- The task that runs. Greenlets that are nobody's task become one when they first wait.
local function self()
    local address = id()
    if running.id == address then
        return running
    end
    local task = tasks[address] or adopted[address]
    if not task then
        if address == hub.address then
            error("a callback of the scheduler cannot wait: spawn a task there", 0)
        end
        if not adopt then
            require "moonlet.task"
        end
        task = adopt(address)
        adopted[address] = task
    end
    running = task
    return task
end
hub.self = self

function hub.set_adopt(f)
    adopt = f
end

--- moonlet.current_task(): the task that calls.
hub.current_task = self

-- Lets `me`, which need not wait, run again after all others that are ready. Returns what choose does.
local function begin_yield(me, entry, by_address)
    entry.outcome = true
    if trace then
        trace("wait", me, entry)
    end
    return choose(me, by_address, entry)
end

--- Lets others run: all that are ready. Raises a cancel.
local function yield(me)
    local entry = { task = me, what = "yield" }
    if me.scope.effective then
        return wait(entry)
    end
    local target = begin_yield(me, entry)
    if target then
        local _, ok, who, err = resume(target)
        if not ok then
            abandon(entry, who, err)
        end
        if running ~= me then
            unready(me) -- somebody else has switched here
        end
    end
    running = me
    if asides[me] then
        enter(me)
    end
    if me.scope.effective then
        error(cancel_error(me.scope), 0)
    end
end
hub.yield = yield

--- To be called by what need not wait this time: every so often it lets others run, so that a task that
--- never has to wait does not keep them waiting.
function hub.pass()
    turns = turns - 1
    if turns <= 0 then
        turns = TURN_LIMIT
        if native.may_wait() and hub_greenlet then
            yield(self())
        end
    end
end

-- Somebody who is no task has switched to one that waits for `entry`.
local function choose_again(entry)
    running = entry.task
    return choose(running, true)
end

require "moonlet.sleep"(hub, {
    begin_wait = begin_wait,
    begin_yield = begin_yield,
    end_wait = end_wait,
    choose_again = choose_again,
    drop = drop,
    cancel_error = cancel_error,
})

-- -------------------------------------------------------------------------------------- trace

--- For trace.lua: calls f(event, task, detail) for "spawn", "switch", "wait" (detail: the entry), "cancel"
--- (the reason; no task: of a scope that is nobody's), "end" and "idle" (no task); nil: nothing. f raises no
--- error and does not wait.
function hub.set_trace(f)
    trace = f
    hub.trace = f
end

--- What counts as something that may yet happen, although nobody here sees it: work in threads.
function hub.hold()
    external = external + 1
end

function hub.unhold()
    external = external - 1
end

-- --------------------------------------------------------------------------------- the loop

local function fire_timers()
    local time = now()
    while true do
        local item = queue:take(time)
        if not item then
            return
        end
        item:fire()
    end
end

--- Calls timer:fire() at timer.when; see timers.lua.
function hub.add_timer(timer)
    queue:add(timer)
end

function hub.remove_timer(timer)
    queue:remove(timer)
end

-- Looks at what can be known without waiting.
local function look()
    native.take_posted()
    loop.run()
    fire_timers()
    local first = queue:first()
    next_look = clock() + POLL_INTERVAL
    if first and not virtual then
        next_look = math.min(next_look, first)
    end
end

-- Whether something may yet happen, timers aside.
local function expects()
    return external > 0 or loop.alive() or native.other_threads() > 0
end

local idle_hooks = {}

--- Calls f(stepping) when nothing is ready: the hub is about to wait, or to return from step().
function hub.on_idle(f)
    idle_hooks[#idle_hooks + 1] = f
end

local function settle(stepping)
    for i = 1, #idle_hooks do
        idle_hooks[i](stepping)
    end
end

local main_greenlet
local came_back -- what came back to the hub

--- Raises an error in who has called run, else in the main greenlet, else in another greenlet that nobody has
--- spawned and that waits. Where none of them waits here, the main greenlet has switched to one that does.
function hub.raise_in_main(err)
    local entry = boss or hub.main_entry()
    if entry and hub.fail(entry, err) then
        return
    end
    for _, task in pairs(adopted) do
        if task.entry and hub.fail(task.entry, err) then
            return
        end
    end
    running = hub
    came_back(native.throw(main_greenlet, err))
end

local function nothing_ever()
    local report = require "moonlet.inspect"
    hub.raise_in_main(moonlet.Deadlock(report.deadlock()))
end

-- Nothing is ready: waits. False: there is nothing to wait for.
local function idle()
    settle(false)
    look()
    if later_count > 0 then
        return
    end
    local first = queue:first()
    local expecting = expects()
    if virtual then
        if first and external == 0 then
            virtual.time = math.max(virtual.time, first)
            fire_timers()
            return
        end
        first = nil
    end
    if not first and not expecting and not native.closing() then
        nothing_ever()
        return
    end
    local timeout = math.min(first and first - clock() or huge, loop.timeout() or huge)
    if trace then
        trace("idle")
    end
    if native.closing() then
        error("the Lua state is being closed", 0) -- and a task that was to end waits
    end
    hub.waits = hub.waits + 1
    if native.wait(loop.fd(), timeout) then
        hub.raise_in_main "interrupted!" -- or what the host's hook raises there
    end
    look()
    since = clock()
end

--- How often the hub has waited: a program that has nothing to do does not make it grow.
hub.waits = 0

local complete -- of task.lua

function hub.set_complete(f)
    complete = f
end

local generation = 0 -- how many hubs there were
local in_hand, is_new -- the task that is about to be switched to, and whether to start it

-- Whoever leaves the hub learns so what came back there: it may be the end of another task.
function came_back(finished, ok, who, ...)
    if who == nil then
        error((...), 0) -- the switch has failed
    end
    in_hand = nil
    local last = running
    if finished then
        local task = tasks[who]
        if task then
            local time = clock()
            task.used = task.used + time - since
            since = time
            running = hub
            complete(task, ok, ...)
        elseif not ok then
            hub.report("error in a greenlet that had no other parent than the hub", (...))
        end
        if last == task then
            return
        end
    elseif not ok then
        error((...), 0) -- thrown into the hub
    end
    -- Somebody was left who did not wait: he goes on.
    if last ~= hub and last.greenlet and not last.entry and not last.finished and not last.greenlet.dead then
        ready(last)
    end
    running = hub
end

-- Ends a task that has not started with an error.
local function fail_task(task, err)
    local ok, why = native.pcall(complete, task, false, err)
    if not ok and not task.finished then
        complete(task, false, why)
    elseif not ok then
        error(why, 0)
    end
end

local function dispatch(task)
    local given = task.arguments
    running, in_hand, is_new = task, task, given ~= false
    if trace then
        trace("switch", task)
    end
    if not given then
        came_back(resume(task.greenlet))
        return
    end
    task.arguments = false
    if task.effective then
        running, in_hand = hub, nil
        fail_task(task, select(2, native.pcall(cancel_error, task)))
        return
    end
    tasks[task.id] = task
    turns = TURN_LIMIT
    if generation > 1 then
        task.greenlet.parent = hub_greenlet -- perhaps it was spawned before
    end
    if given == true then
        came_back(resume(task.greenlet))
    else
        came_back(resume(task.greenlet, unpack(given, 1, given.n)))
    end
end

-- step() was called: goes back there when the budget is used up, or nothing is ready.
local function end_step()
    local greenlet = stepper
    stepper, step_end = nil, huge
    running = hub
    came_back(resume(greenlet))
end

local function run_tasks()
    while true do
        local task = round[at]
        if task then
            round[at] = nil
            at = at + 1
            dispatch(task)
            if stepper and clock() >= step_end then
                end_step()
            end
        elseif later_count > 0 then
            if clock() >= next_look then
                look()
            end
            begin_round()
        elseif stepper then
            look()
            if later_count == 0 then
                settle(true)
                end_step()
            end
        else
            idle()
        end
    end
end

-- Tasks of which the hub was not told that they have ended, for want of memory.
local function find_ended(err)
    for _, task in pairs(tasks) do
        if task.greenlet.dead then
            complete(task, false, err)
        end
    end
end

-- A switch to `task` has failed, for want of memory: nothing has changed. One that has not started fails.
local function give_back(task, err)
    if not task.greenlet or task.greenlet.dead then
        return
    elseif is_new then
        fail_task(task, err)
    else
        ready(task)
    end
end

local function serve()
    while true do
        local ok, err = native.pcall(run_tasks)
        local task = in_hand
        local failed = task and running == task -- otherwise it has been left since
        running, in_hand = hub, nil
        if failed then
            native.pcall(give_back, task, err)
        end
        if native.closing() then
            error(moonlet.GreenletExit(), 0)
        elseif not ok and moonlet.python.isinstance(err, moonlet.GreenletExit) then
            error(err, 0) -- the Lua state is being closed
        elseif not ok then
            native.pcall(find_ended, err)
            hub.raise_in_main(err) -- Ctrl-C, or a wait that failed
        end
    end
end

-- Ends only with the Lua state, or if there is no memory to tell anybody of an error: that is raised in the main
-- greenlet then, and who next needs the hub makes another.
local function hub_body()
    local _, err = native.pcall(serve)
    hub_greenlet, hub.greenlet, hub.address = nil, nil, nil
    step_end = -huge -- who chooses the next one chooses the hub, to which tasks return when they end
    error(err, 0)
end

--- The hub's greenlet, made when it is first needed.
function hub.start()
    if hub_greenlet then
        return hub_greenlet
    end
    main_greenlet = moonlet.current()
    while main_greenlet.parent do
        main_greenlet = main_greenlet.parent
    end
    local g = moonlet.greenlet(hub_body, main_greenlet)
    if generation > 0 then
        find_ended "not enough memory"
    end
    for _, task in pairs(tasks) do
        task.greenlet.parent = g
    end
    hub_greenlet, hub.greenlet, hub.address = g, g, native.id_of(g)
    generation = generation + 1
    step_end = huge
    native.set_loop(true)
    return hub_greenlet
end
start = hub.start

-- ---------------------------------------------------------------------------- run and step

--- What the main greenlet waits for, where it waits outside of run(); nil: it does not.
function hub.main_entry()
    local main = hub.main_task
    return main and main.entry
end

--- For task.lua: who has called run waits for `entry`; nil: nobody has.
function hub.set_boss(entry)
    boss = entry
end

function hub.has_boss()
    return boss ~= nil
end

--- moonlet.run(main, ...): runs main(...) as a task, and all tasks that are spawned, until all have
--- ended. Returns what main returned, or raises its error; then the others are cancelled.
function hub.run(main, ...)
    hub.check_callable(main, "run", 1)
    return require("moonlet.task").run(main, ...)
end
hub.run = hub.facing(hub.run)

--- moonlet.step(budget_ms): for hosts that have a loop of their own. Runs what is ready, timers and I/O
--- that are due included, until there is no more or `budget_ms` milliseconds have passed (nil: no
--- limit). A task that runs is not stopped: the budget is looked at when one waits. Never waits.
--- Returns whether anything is left that is ready or will be, and in how many milliseconds the next
--- timer is due: 0 if something is ready, nil if there is no timer.
function hub.step(budget)
    if budget ~= nil and (type(budget) ~= "number" or budget < 0 or budget ~= budget) then
        hub.bad_argument(1, "step", "milliseconds", budget)
    end
    local here = moonlet.current()
    if stepper or id() == hub.address or tasks[id()] then
        arguments.misuse("RuntimeError", "moonlet.step() cannot be called by a task; it is for the loop of the host")
    end
    local target = hub.start()
    stepper = here
    step_end = budget and clock() + budget / 1000 or huge
    if hub.frames then
        hub.frames:tick_by_host()
    end
    next_look = 0
    if later_count > 0 or round[at] then
        look()
    end
    running = hub
    since = clock()
    local _, ok, _, err = resume(target)
    stepper, step_end = nil, hub_greenlet and huge or -huge
    if not ok then
        error(err, 0)
    end
    local first = queue:first()
    if round[at] or later_count > 0 then
        return true, 0
    end
    local due = first and math.max(0, (first - now()) * 1000)
    local seconds = loop.timeout()
    if seconds then
        due = math.min(due or huge, seconds * 1000)
    end
    local some = first ~= nil or hub.root.children > hub.root.daemons or loop.alive() or external > 0
    return some and true or false, due
end

local watch -- of what other threads post, in luv's loop

--- moonlet.pollfd(): a file descriptor that can be read when step() has something to do because of I/O, or of
--- another thread. Timers do not make it readable: step() tells when the next one is due.
function hub.pollfd()
    hub.start()
    local uv, fd = loop.luv(), loop.fd()
    if fd < 0 then
        arguments.misuse("RuntimeError", "luv's loop has no file descriptor on this system")
    end
    if not watch then
        watch = uv.new_poll(native.wake_fd())
        watch:start("r", native.take_posted)
        watch:unref()
    end
    -- What was added since libuv last ran is not yet known to the descriptor (uv_backend_fd).
    loop.run()
    return fd
end

-- ------------------------------------------------------------------------------ virtual clock

--- How much more time has passed by virtual clocks than by the real one.
hub.skipped = 0

--- For time.lua: from now on timers are those of a virtual clock; nil: of the real one.
--- Timers that are set are moved by `shift` seconds.
function hub.set_virtual(c, shift)
    if c and virtual then
        arguments.misuse("RuntimeError", "there is a virtual clock already")
    end
    virtual = c
    next_look = 0
    if shift then
        queue:shift(shift)
        hub.skipped = hub.skipped - shift
    end
end

--- For inspect.lua: the task that runs and when it was switched to, by hub.now_raw.
function hub.switched()
    return running, since
end

--- For inspect.lua: how many timers there are, and how many tasks are ready.
function hub.counts()
    return queue:count(), later_count + left_in_round()
end

--- Whether a host runs tasks by moonlet.step.
function hub.stepping()
    return stepper ~= nil
end

--- For inspect.lua: all tasks that were started and have not ended, by address; and greenlets of others.
function hub.all_tasks()
    return tasks, adopted
end

return hub
