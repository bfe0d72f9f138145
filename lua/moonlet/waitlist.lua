-- Who waits, in the order in which they came: a doubly linked list of entries (see hub.wait), so that
-- one that gives up leaves it at once. A list is a table with the fields `first` and `last`; an entry
-- is in one list at a time, and has the fields `list`, `before` and `after` while it is.

local waitlist = {}

--- Adds an entry at the end.
function waitlist.push(list, entry)
    local last = list.last
    entry.list, entry.before = list, last
    if last then
        last.after = entry
    else
        list.first = entry
    end
    list.last = entry
end

--- Takes an entry out, if it is in a list. As `undo` of an entry it does what is needed.
function waitlist.remove(entry)
    local list = entry.list
    if not list then
        return
    end
    local before, after = entry.before, entry.after
    if before then
        before.after = after
    else
        list.first = after
    end
    if after then
        after.before = before
    else
        list.last = before
    end
    entry.list, entry.before, entry.after = nil, nil, nil
end

--- Takes the first entry out and returns it, or nil.
function waitlist.pop(list)
    local entry = list.first
    if entry then
        waitlist.remove(entry)
    end
    return entry
end

return waitlist
