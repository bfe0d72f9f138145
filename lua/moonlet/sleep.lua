-- Sleep, and waits in halves: for Python, which leaves Lua in between (raw.c), so that one that waits
-- takes no C stack of Lua's.

local id = require("moonlet.native").id

-- Adds these functions to the hub. `inner` is what of it others have not.
return function(hub, inner)
    local self, wait, yield = hub.self, hub.wait, hub.yield
    local begin_wait, begin_yield, end_wait = inner.begin_wait, inner.begin_yield, inner.end_wait
    local choose_again, drop, cancel_error = inner.choose_again, inner.drop, inner.cancel_error

    local left = {} -- by the address of the task: the entry of a wait that has begun

    -- The entry for a sleep, with room for all that it will have.
    local function sleeper(me)
        return { task = me, what = "sleep", when = nil, fire = nil, armed = nil, outcome = nil }
    end

    --- moonlet.sleep(seconds): waits so long; 0 or nothing: lets others run.
    function hub.sleep(seconds)
        local me = self()
        if seconds == nil or seconds == 0 then
            return yield(me)
        end
        hub.check_seconds(seconds, "sleep", 1)
        wait(sleeper(me), seconds)
    end

    -- Whom to switch to; nil: nobody, as the one who sleeps is the next one. Then it is over, or cancelled.
    local function go(entry, target)
        if not target then
            left[entry.task.id] = nil
            end_wait(entry)
        end
        return target
    end

    --- A sleep in halves: returns the address of the greenlet to switch to; nil: it is over.
    function hub.begin_sleep(seconds)
        local me = self()
        local entry = sleeper(me)
        left[me.id] = entry
        if seconds == nil or seconds == 0 then
            if not me.scope.effective then
                return go(entry, begin_yield(me, entry, true))
            end
            seconds = nil
        else
            hub.check_seconds(seconds, "sleep", 1)
        end
        return go(entry, begin_wait(entry, seconds, true))
    end

    --- Any wait in halves: the first one.
    function hub.begin_half(entry, seconds)
        left[entry.task.id] = entry
        return begin_wait(entry, seconds, true)
    end

    --- The second one. Returns what end_sleep does, and the entry.
    function hub.end_half(thrown, refused)
        local entry = left[id()]
        return hub.end_sleep(thrown, refused), entry
    end

    --- Somebody has switched back: nil, or whom else to switch to. `thrown`: or has thrown an error; with
    --- `refused` nobody has, but the switch away has failed.
    function hub.end_sleep(thrown, refused)
        local address = id()
        local entry = left[address]
        if thrown then
            left[address] = nil
            drop(entry, refused)
            return nil
        end
        if entry.outcome == nil then -- it was no task of ours
            return choose_again(entry)
        end
        left[address] = nil
        end_wait(entry)
        if entry.outcome == true and entry.task.scope.effective then
            error(cancel_error(entry.task.scope), 0)
        end
        return nil
    end
end
