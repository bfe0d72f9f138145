"""What the rows of the scheduler measure, in Python: `sched.py moonlet`, gevent or asyncio, in an
interpreter that has them; or limits.

Reads lines `NAME N` from stdin and answers each with what one of N operations took: nanoseconds of
wall-clock time; for memory bytes, for a step microseconds.
"""
import resource
import socket
import sys
from time import perf_counter_ns

MESSAGE = b"x" * 64
TRIPS = 10  # of each connection


def nothing():
    pass


def pause(i):
    """Seconds, of the i-th timer: up to a tenth of one, in no order."""
    return (i * 7919 % 1000) / 10_000


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def of_sockets(spawn, join, listen, connect, n):
    """N clients at once, each with a connection of its own to an echo server, which are
    functions of one connected socket, a stream with recv and sendall."""
    server, stop = listen(n)

    def client():
        stream = connect(server.getsockname())
        for _ in range(TRIPS):
            stream.sendall(MESSAGE)
            left = len(MESSAGE)
            while left:
                left -= len(stream.recv(left))
        stream.close()

    start = perf_counter_ns()
    join([spawn(client) for _ in range(n)])
    taken = perf_counter_ns() - start
    stop()
    server.close()
    return taken / n


def echo(stream):
    data = stream.recv(4096)
    while data:
        stream.sendall(data)
        data = stream.recv(4096)
    stream.close()


class Moonlet:
    def __init__(self):
        import moonlet
        self.moonlet = moonlet

    def run(self, f, *args):
        return self.moonlet.run(f, *args)

    def spawn_join(self, n):
        spawn = self.moonlet.spawn
        start = perf_counter_ns()
        tasks = [spawn(nothing) for _ in range(n)]
        for task in tasks:
            task.join()
        return (perf_counter_ns() - start) / n

    def timers(self, n):
        spawn, sleep = self.moonlet.spawn, self.moonlet.sleep
        start = perf_counter_ns()
        tasks = [spawn(sleep, pause(i)) for i in range(n)]
        for task in tasks:
            task.join()
        return (perf_counter_ns() - start) / n

    def sleep0(self, n):
        sleep = self.moonlet.sleep

        def sleeper():
            for _ in range(n // 2):
                sleep(0)

        start = perf_counter_ns()
        self.moonlet.wait_all([self.moonlet.spawn(sleeper) for _ in range(2)])
        return (perf_counter_ns() - start) / n

    def pingpong(self, n):
        there, back = self.moonlet.Channel(), self.moonlet.Channel()

        def pong():
            for _ in range(n):
                back.send(there.receive())

        def ping():
            for i in range(n):
                there.send(i)
                back.receive()

        start = perf_counter_ns()
        self.moonlet.wait_all([self.moonlet.spawn(pong), self.moonlet.spawn(ping)])
        return (perf_counter_ns() - start) / n

    def memory(self, n):
        started = []

        def sleeper():
            started.append(None)
            self.moonlet.sleep(1000)

        before = resident()
        tasks = [self.moonlet.spawn(sleeper) for _ in range(n)]
        while len(started) < n:
            self.moonlet.sleep(0.01)
        each = (resident() - before) / n
        for task in tasks:
            task.cancel()
        self.moonlet.wait_all(tasks)
        return each

    def step(self, n):
        """The 99th percentile of N steps of 4 ms; 1,000 tasks always have something to do."""
        step, sleep = self.moonlet.step, self.moonlet.sleep

        def behaviour():
            while True:
                for _ in range(100):
                    pass
                sleep(0)

        tasks = [self.moonlet.spawn(behaviour) for _ in range(1000)]
        taken = []
        for _ in range(n):
            start = perf_counter_ns()
            step(4)
            taken.append(perf_counter_ns() - start)
        for task in tasks:
            task.cancel()
        while step(1000)[0]:
            pass
        return sorted(taken)[n * 99 // 100] / 1000

    def echo(self, n):
        moonlet = self.moonlet

        class Stream:
            def __init__(self, sock):
                self.sock = sock
                sock.setblocking(False)

            def recv(self, count):
                while True:
                    try:
                        return self.sock.recv(count)
                    except BlockingIOError:
                        moonlet.wait_readable(self.sock)

            def sendall(self, data):
                while data:
                    try:
                        data = data[self.sock.send(data):]
                    except BlockingIOError:
                        moonlet.wait_writable(self.sock)

            def close(self):
                self.sock.close()

        def serve(server):
            while True:
                moonlet.wait_readable(server)
                try:
                    while True:
                        moonlet.spawn(echo, Stream(server.accept()[0]))
                except BlockingIOError:
                    pass

        def listen(n):
            server = socket.create_server(("127.0.0.1", 0), backlog=n)
            server.setblocking(False)
            return server, moonlet.spawn(serve, server).cancel

        def connect(address):
            sock = socket.socket()
            stream = Stream(sock)
            if sock.connect_ex(address):
                moonlet.wait_writable(sock)
            return stream

        return of_sockets(moonlet.spawn, moonlet.wait_all, listen, connect, n)


class Gevent:
    def __init__(self):
        import gevent
        import gevent.queue
        import gevent.server
        import gevent.socket
        self.gevent = gevent

    def run(self, f, *args):
        return f(*args)

    def spawn_join(self, n):
        spawn = self.gevent.spawn
        start = perf_counter_ns()
        tasks = [spawn(nothing) for _ in range(n)]
        for task in tasks:
            task.join()
        return (perf_counter_ns() - start) / n

    def timers(self, n):
        spawn, sleep = self.gevent.spawn, self.gevent.sleep
        start = perf_counter_ns()
        tasks = [spawn(sleep, pause(i)) for i in range(n)]
        for task in tasks:
            task.join()
        return (perf_counter_ns() - start) / n

    def sleep0(self, n):
        sleep = self.gevent.sleep

        def sleeper():
            for _ in range(n // 2):
                sleep(0)

        start = perf_counter_ns()
        self.gevent.joinall([self.gevent.spawn(sleeper) for _ in range(2)])
        return (perf_counter_ns() - start) / n

    def pingpong(self, n):
        there, back = self.gevent.queue.Channel(), self.gevent.queue.Channel()

        def pong():
            for _ in range(n):
                back.put(there.get())

        def ping():
            for i in range(n):
                there.put(i)
                back.get()

        start = perf_counter_ns()
        self.gevent.joinall([self.gevent.spawn(pong), self.gevent.spawn(ping)])
        return (perf_counter_ns() - start) / n

    def memory(self, n):
        started = []

        def sleeper():
            started.append(None)
            self.gevent.sleep(1000)

        before = resident()
        tasks = [self.gevent.spawn(sleeper) for _ in range(n)]
        while len(started) < n:
            self.gevent.sleep(0.01)
        each = (resident() - before) / n
        self.gevent.killall(tasks)
        return each

    def echo(self, n):
        gevent = self.gevent

        def listen(n):
            server = gevent.socket.socket()
            server.bind(("127.0.0.1", 0))
            server.listen(n)
            serving = gevent.server.StreamServer(server, lambda stream, address: echo(stream))
            serving.start()
            return server, serving.stop

        return of_sockets(gevent.spawn, gevent.joinall, listen, gevent.socket.create_connection,
                          n)


class Asyncio:
    def __init__(self):
        import asyncio
        self.asyncio = asyncio

    def run(self, f, *args):
        return self.asyncio.run(f(*args))

    async def spawn_join(self, n):
        async def body():
            pass

        create = self.asyncio.create_task
        start = perf_counter_ns()
        tasks = [create(body()) for _ in range(n)]
        for task in tasks:
            await task
        return (perf_counter_ns() - start) / n

    async def timers(self, n):
        create, sleep = self.asyncio.create_task, self.asyncio.sleep
        start = perf_counter_ns()
        tasks = [create(sleep(pause(i))) for i in range(n)]
        for task in tasks:
            await task
        return (perf_counter_ns() - start) / n

    async def sleep0(self, n):
        sleep = self.asyncio.sleep

        async def sleeper():
            for _ in range(n // 2):
                await sleep(0)

        start = perf_counter_ns()
        await self.asyncio.gather(sleeper(), sleeper())
        return (perf_counter_ns() - start) / n

    async def pingpong(self, n):
        there, back = self.asyncio.Queue(1), self.asyncio.Queue(1)

        async def pong():
            for _ in range(n):
                await back.put(await there.get())

        async def ping():
            for i in range(n):
                await there.put(i)
                await back.get()

        start = perf_counter_ns()
        await self.asyncio.gather(pong(), ping())
        return (perf_counter_ns() - start) / n

    async def memory(self, n):
        started = []

        async def sleeper():
            started.append(None)
            await self.asyncio.sleep(1000)

        before = resident()
        tasks = [self.asyncio.create_task(sleeper()) for _ in range(n)]
        while len(started) < n:
            await self.asyncio.sleep(0.01)
        each = (resident() - before) / n
        for task in tasks:
            task.cancel()
        await self.asyncio.wait(tasks)
        return each

    async def echo(self, n):
        asyncio = self.asyncio

        async def serve(reader, writer):
            data = await reader.read(4096)
            while data:
                writer.write(data)
                await writer.drain()
                data = await reader.read(4096)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=n)
        port = server.sockets[0].getsockname()[1]

        async def client():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(TRIPS):
                writer.write(MESSAGE)
                await writer.drain()
                await reader.readexactly(len(MESSAGE))
            writer.close()
            await writer.wait_closed()

        start = perf_counter_ns()
        await asyncio.gather(*(client() for _ in range(n)))
        taken = perf_counter_ns() - start
        server.close()
        await server.wait_closed()
        return taken / n


class Limits:
    """What ours should not exceed."""

    def run(self, f, *args):
        return f(*args)

    def memory(self, n):
        return 4000

    def step(self, n):
        return 4000


def main(peer):
    for line in sys.stdin:
        name, n = line.split()
        # Sockets of a measurement before are all closed.
        resource.setrlimit(resource.RLIMIT_NOFILE,
                           (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        f = getattr(peer, name)
        print(f(int(n)) if name == "step" else peer.run(f, int(n)), flush=True)


main({"moonlet": Moonlet, "gevent": Gevent, "asyncio": Asyncio, "limits": Limits}[sys.argv[-1]]())
