-- Random Python programs do the same with our greenlets as with Debian's python3-greenlet.

local support = require "spec.support"

local script = "spec/python/random_programs.py"
local first = tonumber(os.getenv "SPEC_SEED" or 1)
local count = support.sanitized and 100 or 300

local reference, status =
    support.run_python("-E", script, tostring(first), tostring(count))

--- What the programs print in the interpreter that runs the specs, as a Python script in it. Some
--- leak greenlets that refuse to end, as they would with stock greenlet.
local function ours(lanes)
    local name = support.file(([[
        local py = require("moonlet").python
        require("moonlet").config.lanes = %d
        py.import("sys").argv:extend(py.builtins.map(py.builtins.str, py.eval "[%d, %d]"))
        py.import("runpy").run_path(%q, py.kw { run_name = "__main__" })
    ]]):format(lanes, first, count, script))
    local output, code = support.shell(
        "ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 " .. support.command(support.lua, name)
    )
    os.remove(name)
    return output, code
end

local function lines(text)
    local all = {}
    for line in text:gmatch "[^\n]*" do
        all[#all + 1] = line
    end
    return all
end

--- Compares line by line; a difference is shown with what led to it.
local function compare(expected, got)
    if expected == got then
        return
    end
    local theirs, mine = lines(expected), lines(got)
    local i = 1
    while theirs[i] == mine[i] do
        i = i + 1
    end
    local from = math.min(i, #theirs)
    while from > 1 and not theirs[from]:match "^seed" do
        from = from - 1
    end
    local context = table.concat(theirs, "\n", math.max(from, i - 30), i - 1)
    error(
        ("%s\n%s\nexpected: %s\ngot:      %s"):format(theirs[from], context, theirs[i], mine[i]),
        0
    )
end

describe("random programs", function()
    if reference:match "No module named 'greenlet'" then
        pending "python3-greenlet is not installed"
        return
    end

    it("run in stock greenlet", function()
        assert.equal(0, status, reference)
        assert.is_true(#lines(reference) > 10 * count)
    end)

    for _, lanes in ipairs { 256, 1, 2 } do
        it(("do the same with ours, with %d lanes"):format(lanes), function()
            local output, code = ours(lanes)
            compare(reference, output)
            assert.equal(0, code)
        end)
    end
end)
