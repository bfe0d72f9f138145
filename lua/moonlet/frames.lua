-- Frame clocks: time that passes in frames, for games. It can go slower or stand still.

local class = require "moonlet.class"
local hub = require "moonlet.hub"
local timers = require "moonlet.timers"
local waitlist = require "moonlet.waitlist"

local current_task, stepping, wait = hub.self, hub.stepping, hub.wait
local push, remove = waitlist.push, waitlist.remove

local frames = {}

local methods, properties, setters = {}, {}, {}
local Clock = class.define("frame clock", methods, properties, setters, "FrameClock")

local hosted -- the clocks that a host drives by moonlet.step
local has_host = false -- it has called that

local function check(self, name)
    if type(self) ~= "table" or getmetatable(self) ~= Clock then
        hub.bad_argument(1, name, "frame clock", self)
    end
end

-- ------------------------------------------------------------------------------------- frames

-- How many seconds each frame of its own has.
local function period(self)
    return 1 / self.rate
end

-- The clock goes on by `count` frames and `seconds` of real time.
local function go_on(self, count, seconds)
    self.count = self.count + count
    self.delta = seconds * self.scale
    self.elapsed = self.elapsed + self.delta
end

local function wake_all(self)
    -- Those that wait for several frames have begun before those that wait for this one.
    local item = self.later:take(self.count)
    while item do
        hub.wake(item.entry)
        item = self.later:take(self.count)
    end
    local list = self.waiting
    local entry = list.first
    if entry then
        self.waiting = { first = false, last = false }
        while entry do
            local after = entry.after
            entry.list, entry.before, entry.after = nil, nil, nil
            hub.wake(entry)
            entry = after
        end
    end
    item = self.sleeping:take(self.elapsed)
    while item do
        hub.wake(item.entry)
        item = self.sleeping:take(self.elapsed)
    end
end

-- Whether a host drives it now.
local function is_hosted(self)
    return self.auto and (hub.stepping() or (has_host and not hub.has_boss()))
end

-- A clock of its own goes by a grid: frame n ends at start + n * period, so that it does not drift. That
-- many frames have begun by now since the last one.
local function missed(self)
    local time = hub.now()
    if time < self.last then -- a virtual clock was closed
        self.start, self.grid, self.last = time, 0, time
    end
    return math.max(0, math.floor((time - self.start) * self.rate + 1e-6) - self.grid)
end

local function has_waiters(self)
    return self.waiting.first or self.later:first()
end

-- Nobody waits for frames, so none were counted: does that now.
local function catch_up(self)
    if not self.begun or self.manual or self.stopped or has_waiters(self) or is_hosted(self) then
        return
    end
    local count = missed(self)
    if count > 0 then
        local delta = self.delta
        go_on(self, count, count * period(self))
        self.delta = delta
        self.grid = self.grid + count
        self.last = self.start + self.grid * period(self)
    end
end

-- Sets the timer for the next frame that somebody waits for, if it has none.
local function arm(self)
    local timer = self.timer
    if timer.armed or self.manual or self.stopped or is_hosted(self) then
        return
    end
    local ahead
    if has_waiters(self) then
        ahead = 1
    elseif self.scale > 0 and self.sleeping:first() then
        local left = (self.sleeping:first() - self.elapsed) / self.scale
        ahead = math.max(1, math.ceil(left * self.rate - 1e-6))
    end
    if ahead then
        if not self.begun then
            self.begun = true
            self.start = hub.now()
            self.last = self.start
        end
        timer.when = self.start + (self.grid + ahead) * period(self)
        hub.add_timer(timer)
    end
end

local function disarm(self)
    if self.timer.armed then
        hub.remove_timer(self.timer)
    end
end

local function fire(timer)
    local self = timer.clock
    local count = missed(self)
    if count > 0 then -- else they were counted already
        self.grid = self.grid + count
        self.last = self.start + self.grid * period(self)
        go_on(self, count, count * period(self))
    end
    wake_all(self)
    arm(self)
end

-- ------------------------------------------------------------------------------------- the host

-- A host has called moonlet.step: that is one frame of each clock that it drives.
local function host_frame(clock, time)
    disarm(clock)
    local seconds = math.max(0, time - clock.last)
    clock.last = time
    clock.start, clock.grid = time, 0 -- if it goes by itself again
    if clock.stopped then
        return
    end
    if not clock.ticked then
        clock.ticked, clock.begun = true, true
        seconds = period(clock) -- nobody knows how long the first one has taken
    end
    go_on(clock, 1, math.min(seconds, clock.longest))
    wake_all(clock)
end

local Hosted = { __mode = "v" }
Hosted.__index = Hosted

function Hosted:tick_by_host()
    has_host = true
    local time = hub.now()
    local count, kept = self.count, 0
    for i = 1, count do
        local clock = self[i]
        if clock then
            kept = kept + 1
            self[i] = nil
            self[kept] = clock
            host_frame(clock, time)
        end
    end
    self.count = kept
end

hosted = setmetatable({ count = 0 }, Hosted)
hub.frames = hosted

-- ------------------------------------------------------------------------------------ waiting

local function unlist(entry)
    local item = entry.item
    entry.queue:remove(item)
end

-- Waits in a queue until it takes the item that is due at `when`.
local function wait_in(self, queue, when, what)
    local entry = { task = hub.self(), what = what, on = self, undo = unlist, queue = queue }
    local item = { when = when, entry = entry }
    entry.item = item
    if not has_waiters(self) then
        disarm(self) -- it may be due earlier now
    end
    queue:add(item)
    arm(self)
    hub.wait(entry)
end

--- clock:next_frame(): waits until the next frame begins. Returns how long it has been, in the clock's time,
--- since the one in which it began to wait.
function methods.next_frame(self)
    if getmetatable(self) ~= Clock then
        check(self, "next_frame")
    end
    local by_host = self.auto and stepping()
    if not by_host then
        catch_up(self)
    end
    local count, elapsed = self.count, self.elapsed
    local entry = {
        task = current_task(), what = "frame", on = self, undo = remove,
        list = nil, before = nil, after = nil, outcome = nil,
    }
    if not by_host and not has_waiters(self) then
        disarm(self) -- if it is set, then for sleepers
    end
    push(self.waiting, entry)
    if not by_host then
        arm(self)
    end
    wait(entry)
    if self.count == count + 1 then
        return self.delta
    end
    return self.elapsed - elapsed -- it has got its turn late: frames have passed since
end

--- clock:wait_frames(n): waits until n frames have begun. Returns how long that was in the clock's time.
function methods.wait_frames(self, n)
    check(self, "wait_frames")
    if math.type(n) ~= "integer" and not (type(n) == "number" and n == math.floor(n)) then
        hub.bad_argument(1, "wait_frames", "number of frames", n)
    elseif n < 0 then
        hub.misuse("ValueError", ("bad argument #1 to 'wait_frames' (0 or more expected, got %d)"):format(n))
    end
    if n == 0 then
        hub.yield(hub.self())
        return 0.0
    elseif n == 1 then
        return methods.next_frame(self)
    end
    catch_up(self)
    local elapsed = self.elapsed
    wait_in(self, self.later, self.count + n, "frames")
    return self.elapsed - elapsed
end

--- clock:sleep(seconds): waits until so much of the clock's time has passed: to the first frame that is
--- later.
function methods.sleep(self, seconds)
    check(self, "sleep")
    hub.check_seconds(seconds, "sleep", 1)
    if seconds == 0 then
        return hub.yield(hub.self())
    end
    catch_up(self)
    -- Sums of frames are not exact.
    wait_in(self, self.sleeping, self.elapsed + seconds - 1e-9, "sleep")
end

--- clock:pause(): no frame begins until clock:resume().
function methods.pause(self)
    check(self, "pause")
    if not self.stopped then
        catch_up(self)
        disarm(self)
        self.stopped = true
    end
end

--- clock:resume(): frames begin again. The time in between is none of the clock's.
function methods.resume(self)
    check(self, "resume")
    if self.stopped then
        self.stopped = false
        local time = hub.now()
        self.start, self.grid, self.last = time, 0, time
        arm(self)
    end
end

--- clock:tick([seconds]): one frame, for who drives it, of so many seconds (default: 1 / fps).
function methods.tick(self, seconds)
    check(self, "tick")
    if seconds ~= nil then
        hub.check_seconds(seconds, "tick", 1)
    end
    if not self.manual then
        hub.misuse("RuntimeError", "this frame clock goes by itself: tick() is for one with manual = true")
    end
    if not self.stopped then
        go_on(self, 1, seconds or period(self))
        wake_all(self)
    end
end

-- --------------------------------------------------------------------------------- attributes

--- How fast its time passes: 1.0 as the real one, 0.5 in slow motion, 0 not at all, though frames go on.
function properties.time_scale(self)
    return self.scale
end

function setters.time_scale(self, value)
    if type(value) ~= "number" then
        hub.misuse("TypeError", ("bad value for 'time_scale' (number expected, got %s)"):format(hub.type_name(value)))
    elseif not (value >= 0 and value < math.huge) then
        hub.misuse("ValueError", ("bad value for 'time_scale' (0 or more expected, got %s)"):format(value))
    end
    catch_up(self)
    self.scale = value
    if self.timer.armed and not has_waiters(self) then
        disarm(self) -- sleepers are due at another time
    end
    arm(self)
end

--- Whether it stands still. Can be set.
function properties.paused(self)
    return self.stopped
end

function setters.paused(self, value)
    if value then
        methods.pause(self)
    else
        methods.resume(self)
    end
end

--- How many frames have begun.
function properties.frame(self)
    catch_up(self)
    return self.count
end

--- How many seconds of its time have passed, as of the last frame.
function properties.time(self)
    catch_up(self)
    return self.elapsed
end

--- How long the last frame was in its time.
function properties.dt(self)
    return self.delta
end

--- How many frames a second there are, where no host drives it.
function properties.fps(self)
    return self.rate
end

--- What a frame of a host counts at most, in seconds: a program that was stopped does not leap. Can be set.
function properties.max_dt(self)
    return self.longest
end

function setters.max_dt(self, value)
    if type(value) ~= "number" or value <= 0 or value ~= value then
        hub.misuse("ValueError", ("bad value for 'max_dt' (seconds above 0 expected, got %s)"):format(tostring(value)))
    end
    self.longest = value
end

function Clock.__tostring(self)
    local state = self.stopped and ", paused" or self.scale ~= 1 and (", time scale %g"):format(self.scale) or ""
    return ("frame clock: frame %d, %.3f s%s"):format(self.count, self.elapsed, state)
end

-- ------------------------------------------------------------------------------------- making

local function new(options)
    local time = hub.now()
    local self = setmetatable({
        rate = options.fps or 60,
        scale = options.time_scale or 1,
        longest = options.max_dt or math.huge,
        auto = options.fps == nil and not options.manual,
        manual = options.manual or false,
        stopped = false,
        ticked = false, -- a host has driven it
        begun = false, -- somebody has waited
        count = 0,
        elapsed = 0.0,
        delta = 0.0,
        start = time, -- of the grid ...
        grid = 0, -- ... and how many frames ago
        last = time, -- the last frame began
        waiting = { first = false, last = false }, -- for the next frame
        later = timers.new(), -- for frames by their numbers
        sleeping = timers.new(), -- for times of the clock
        timer = false,
    }, Clock)
    self.timer = { when = 0, fire = fire, clock = self, armed = nil }
    if self.auto then
        hosted.count = hosted.count + 1
        hosted[hosted.count] = self
    end
    return self
end

local known = { fps = "number", time_scale = "number", max_dt = "number", manual = "boolean" }

--- moonlet.frame_clock{fps=, time_scale=, max_dt=, manual=}: a new frame clock. With `fps` it goes by itself, so
--- many frames a second; with `manual` by its method tick; else as moonlet.frames: by the host, each
--- moonlet.step is one frame, and in moonlet.run by itself, 60 frames a second.
function frames.frame_clock(options)
    options = options == nil and {} or options
    if type(options) ~= "table" then
        hub.bad_argument(1, "frame_clock", "table", options)
    end
    for key, value in pairs(options) do
        local expected = known[key]
        if not expected then
            hub.misuse("ValueError", ("bad argument #1 to 'frame_clock' (unknown option '%s')"):format(tostring(key)))
        elseif type(value) ~= expected then
            local text = "bad option '%s' of 'frame_clock' (%s expected, got %s)"
            hub.misuse("TypeError", text:format(key, expected, hub.type_name(value)))
        elseif expected == "number" and not (value > 0 and value < math.huge)
            and not (key == "time_scale" and value == 0) and not (key == "max_dt" and value == math.huge) then
            hub.misuse("ValueError", ("bad option '%s' of 'frame_clock' (above 0 expected, got %s)"):format(key, value))
        end
    end
    return new(options)
end

--- moonlet.frames: the frame clock of the program.
frames.frames = new {}

--- moonlet.next_frame(): waits until the next frame of moonlet.frames begins. Returns how long the last one
--- was in its time.
function frames.next_frame()
    return methods.next_frame(frames.frames)
end

--- moonlet.wait_frames(n): waits until n frames have begun.
function frames.wait_frames(n)
    return methods.wait_frames(frames.frames, n)
end

--- For Python.
function frames.default()
    return frames.frames
end

function frames.make(fps, time_scale, max_dt, manual)
    return frames.frame_clock {
        fps = fps, time_scale = time_scale, max_dt = max_dt, manual = manual or nil,
    }
end

local function getter(name)
    return function(self)
        check(self, name)
        return self[name]
    end
end

frames.get = {}
for name in pairs(properties) do
    frames.get[name] = getter(name)
end

frames.set = {}
for name, set in pairs(setters) do
    frames.set[name] = function(self, value)
        check(self, name)
        set(self, value)
    end
end

frames.methods = methods

return frames
