-- moonlet.signal: signals of the operating system.

local moonlet = require "moonlet"
local support = require "spec.support"
local signal = moonlet.signal
local py = moonlet.python
local message, error_of = support.message, support.error_of
local task = support.task
local python_signal, os = py.import "signal", py.import "os"

local function kill(name)
    os.kill(os.getpid(), py.attr(python_signal, name))
end

describe("signal.wait", function()
    it("returns the name of the signal that has come", task(function()
        local t = moonlet.spawn(signal.wait, "SIGUSR1")
        local u = moonlet.spawn(signal.wait, { "usr2", python_signal.SIGUSR1 })
        moonlet.sleep(0.001)
        kill "SIGUSR1"
        assert.same({ "SIGUSR1", "SIGUSR1" }, { t:join(), u:join() })
    end))

    it("returns nil at the timeout, and is cancelled", task(function()
        assert.is_nil(signal.wait("SIGUSR1", 0.01))
        assert.is_false(moonlet.move_on_after(0.01, signal.wait, "SIGUSR1"))
    end))

    it("leaves the signal as it was", task(function()
        local caught = py.builtins.list()
        local before = python_signal.signal(python_signal.SIGUSR1, function(number)
            caught:append(number)
        end)
        kill "SIGUSR1"
        local t = moonlet.spawn(signal.wait, "SIGUSR1")
        moonlet.sleep(0.001)
        kill "SIGUSR1"
        t:join()
        py.exec "pass"
        assert.equal(1, #caught)
        kill "SIGUSR1"
        py.exec "pass"
        assert.equal(2, #caught)
        python_signal.signal(python_signal.SIGUSR1, before)
    end))

    it("takes Ctrl-C only when asked to", task(function()
        local t = moonlet.spawn(signal.wait, "SIGINT")
        moonlet.sleep(0.001)
        kill "SIGINT"
        assert.equal("SIGINT", t:join())
    end))

    it("refuses what is no signal", task(function()
        assert.equal("bad argument #1 to 'wait' (there is no signal 'SIGNONE')", message(signal.wait, "SIGNONE"))
        assert.equal("bad argument #1 to 'wait' (there is no signal 0)", message(signal.wait, 0))
        assert.equal("bad argument #1 to 'wait' (name or number of a signal expected, got nil)", message(signal.wait))
        assert.equal("bad argument #2 to 'wait' (seconds expected, got string)", message(signal.wait, "SIGUSR1", "x"))
        assert.matches("Invalid argument: listen to SIGKILL", message(signal.wait, "SIGKILL"))
    end))
end)

describe("signal.listen", function()
    it("keeps what comes, in order", task(function()
        local listener <close> = signal.listen("SIGUSR1", "SIGUSR2")
        kill "SIGUSR1"
        moonlet.sleep(0.001)
        kill "SIGUSR2"
        moonlet.sleep(0.001)
        assert.equal("SIGUSR1", listener:wait())
        assert.equal("SIGUSR2", listener:wait())
        assert.is_nil(listener:wait(0.01))
        assert.equal("signal listener for SIGUSR1, SIGUSR2", tostring(listener))
    end))

    it("is iterated until it is closed", task(function()
        local listener = signal.listen "SIGUSR1"
        local names = {}
        local t = moonlet.spawn(function()
            for name in listener do
                names[#names + 1] = name
            end
        end)
        for _ = 1, 3 do
            kill "SIGUSR1"
            moonlet.sleep(0.001)
        end
        local waiting = moonlet.spawn(listener.wait, listener)
        moonlet.sleep(0)
        listener:close()
        listener:close()
        t:join()
        assert.same({ "SIGUSR1", "SIGUSR1", "SIGUSR1" }, names)
        assert.matches("signal listener for SIGUSR1 is closed", message(waiting.join, waiting))
        assert.is_true(py.isinstance(error_of(listener.wait, listener), moonlet.Closed))
    end))

    it("that nobody waits for does not hide a deadlock", function()
        local listener <close> = signal.listen "SIGUSR1"
        local err = error_of(moonlet.run, function()
            local me = moonlet.current_task()
            moonlet.spawn(function()
                me:join()
            end):join()
        end)
        assert.is_true(py.isinstance(err, moonlet.Deadlock), tostring(err))
        assert.is_false(listener.closed)
    end)

    it("gives the signal back when nobody has it any more", task(function()
        local before = python_signal.signal(python_signal.SIGUSR2, python_signal.SIG_IGN)
        signal.listen "SIGUSR2"
        support.collect()
        moonlet.sleep(0.001)
        kill "SIGUSR2"
        python_signal.signal(python_signal.SIGUSR2, before)
    end))
end)
