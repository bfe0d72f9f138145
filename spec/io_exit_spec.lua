-- The end of a program, or of its Lua state, while tasks wait for I/O; and what idle I/O costs.

local moonlet = require "moonlet"
local support = require "spec.support"

local prelude = [[
    local moonlet = require "moonlet"
    local net, fs, process, signal = moonlet.net, moonlet.fs, moonlet.process, moonlet.signal
    local listener = net.listen("127.0.0.1", 0)
    local client = net.connect("127.0.0.1", listener.port)
    local server = listener:accept()
]]

local waits = {
    ["reads a stream"] = "server:read()",
    ["writes a stream"] = "client:write(('x'):rep(10000000))",
    ["accepts"] = "listener:accept()",
    ["receives datagrams"] = "local udp <close> = net.udp('127.0.0.1', 0) udp:receive()",
    ["waits for a signal"] = "signal.wait 'SIGUSR1'",
    ["waits for a process"] = "local p <close> = process.spawn 'cat' p:wait()",
    ["runs a process"] = "process.run { 'sleep', '100', stdin = 'inherit' }",
    ["reads a file"] = "fs.open('/dev/zero'):read_exactly(1000000000)",
    ["waits for a descriptor"] = "moonlet.wait_readable(server:fileno())",
    ["serves"] = "net.serve(listener, function(s) s:read() end)",
}

describe("a program ends", function()
    for name, code in pairs(waits) do
        it("while a task " .. name, function()
            local body = ("moonlet.spawn(function() %s end) moonlet.sleep(0.02) print 'end'"):format(code)
            local output, status = support.child(prelude .. body)
            assert.same({ "end\n", 0 }, { output, status })
        end)
    end

    it("while many tasks wait for everything", function()
        local list = {}
        for _, code in pairs(waits) do
            list[#list + 1] = ("moonlet.spawn(function() %s end)"):format(code)
        end
        local output, status = support.child(prelude .. table.concat(list, "\n") .. "\nmoonlet.sleep(0.02) print 'end'")
        assert.same({ "end\n", 0 }, { output, status })
    end)

    it("right after it has closed something", function()
        local output, status = support.child(prelude .. "client:close() server:close() listener:close() print 'end'")
        assert.same({ "end\n", 0 }, { output, status })
    end)

    it("with an error inside of run, with something open", function()
        local output, status = support.child(prelude .. [[
            moonlet.run(function()
                local s <close> = net.connect("127.0.0.1", listener.port)
                error("it has failed", 0)
            end)
        ]])
        assert.matches("it has failed", output)
        assert.equal(1, status)
    end)

    it("by os.exit, which closes the state", function()
        local output, status = support.child(prelude .. "client:close() os.exit(3, true)")
        assert.same({ "", 3 }, { output, status })
    end)
end)

describe("standard streams", function()
    local code = [[
        local moonlet = require "moonlet"
        local net = moonlet.net
        moonlet.run(function()
            local input, output = net.stdin(), net.stdout()
            for line in input:lines() do
                output:write("[" .. line .. "]\n")
            end
        end)
        print "printed"
    ]]

    for name, shell in pairs {
        pipes = "printf 'a\\nb' | %s | cat",
        files = "d=$(mktemp -d) && printf 'a\\nb' > $d/in && %s < $d/in > $d/out; cat $d/out; rm -r $d",
    } do
        it("can be " .. name, function()
            local script = support.file(code)
            local output = support.shell(shell:format(support.command(support.lua, script)))
            os.remove(script)
            assert.equal("[a]\n[b]\nprinted\n", output)
        end)
    end
end)

describe("what nobody waits for", function()
    it("costs no time while others sleep", function()
        local hub = require "moonlet.hub"
        moonlet.run(function()
            local a, b = moonlet.net.socketpair()
            a:write "xy"
            b:read(1) -- now it reads ahead
            b:read(1)
            a:write "more"
            local listener <close> = moonlet.net.listen("127.0.0.1", 0)
            local c <close> = moonlet.net.connect("127.0.0.1", listener.port)
            moonlet.sleep(0.01)
            local before = hub.waits
            moonlet.sleep(0.05)
            assert.is_true(hub.waits - before <= 3)
            assert.equal("more", b:read())
            c:close()
            b:close()
        end)
    end)
end)
