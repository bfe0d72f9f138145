-- Errors that nobody can be told of otherwise.

local moonlet = require "moonlet"
local native = require "moonlet.native"
local arguments = require "moonlet.arguments"

local errors = {}

local on_error

--- moonlet.on_error(handler): from now on calls handler(text, err, task) with errors that nobody else
--- can be told of: of tasks that nobody joins, of callbacks. nil: they are written to stderr again.
--- Returns the handler that there was.
function errors.on_error(handler)
    if handler ~= nil then
        arguments.check_callable(handler, "on_error", 1)
    end
    local before = on_error
    on_error = handler
    return before
end

--- Tells of an error that nobody else can be told of. Raises none.
function errors.report(text, err, task)
    if on_error then
        local ok, second = native.pcall(on_error, text, err, task)
        if ok then
            return
        end
        io.stderr:write("moonlet: error in the handler of on_error: ", tostring(second), "\n")
    end
    io.stdout:flush()
    io.stderr:write("moonlet: ", text, ":\n", errors.text_of(err), "\n")
end

--- The text of an error with its traceback, as Python prints it.
function errors.text_of(err)
    local python = moonlet.python
    local ok, text = native.pcall(function()
        local lines = python.import("traceback").format_exception(native.exception_of(err))
        return (python.eval("lambda lines: ''.join(lines)")(lines):gsub("\n$", ""))
    end)
    return ok and text or tostring(err)
end

return errors
