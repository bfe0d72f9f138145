-- 1,000 connections over loopback, each with 20 round trips of 64 bytes; server and clients in this process. The
-- argument says who they are: "lua" (streams of moonlet.net) or "python" (sockets and wait_readable). Prints the
-- seconds it takes.

local moonlet = require "moonlet"
local net = moonlet.net

local CONNECTIONS, ROUNDS = 1000, 20
local message = ("x"):rep(64)

local function lua()
    local listener = net.listen("127.0.0.1", 0, 1024)
    local server = moonlet.spawn(net.serve, listener, function(stream)
        while true do
            local data = stream:read()
            if not data then
                return
            end
            stream:write(data)
        end
    end)
    local port = listener.port
    moonlet.nursery(function(nursery)
        for _ = 1, CONNECTIONS do
            nursery:spawn(function()
                local stream <close> = net.connect("127.0.0.1", port)
                for _ = 1, ROUNDS do
                    stream:write(message)
                    assert(stream:read_exactly(64) == message)
                end
            end)
        end
    end)
    listener:close()
    server:join()
end

local source = [[
import socket
import moonlet

def send(sock, data):
    while True:
        try:
            n = sock.send(data)
        except BlockingIOError:
            n = 0
        if n == len(data):
            return
        data = data[n:]
        moonlet.wait_writable(sock)

def receive(sock):
    moonlet.wait_readable(sock)
    while True:
        try:
            return sock.recv(4096)
        except BlockingIOError:
            moonlet.wait_readable(sock)

def handle(sock):
    with sock:
        while True:
            data = receive(sock)
            if not data:
                return
            send(sock, data)

def accept(listener, count):
    for _ in range(count):
        while True:
            try:
                sock, _ = listener.accept()
                break
            except BlockingIOError:
                moonlet.wait_readable(listener)
        sock.setblocking(False)
        moonlet.spawn(handle, sock)

def client(port, rounds, message):
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect(("127.0.0.1", port))
        except BlockingIOError:
            moonlet.wait_writable(sock)
        for _ in range(rounds):
            send(sock, message)
            got = receive(sock)
            while len(got) < 64:
                got += receive(sock)

def main(connections, rounds):
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    port = listener.getsockname()[1]
    tasks = [moonlet.spawn(accept, listener, connections)]
    message = b"x" * 64
    tasks += [moonlet.spawn(client, port, rounds, message) for _ in range(connections)]
    for task in tasks:
        task.join()
    listener.close()
]]

local function python()
    local namespace = moonlet.python.builtins.dict()
    moonlet.python.exec(source, namespace)
    namespace.main(CONNECTIONS, ROUNDS)
end

local start
moonlet.run(function()
    local body = arg[1] == "python" and python or lua
    local _ = net
    start = moonlet.now()
    body()
end)
print(moonlet.now() - start)
