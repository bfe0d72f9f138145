"""What the Python rows measure. The same file runs under moonlet and under stock python3.

Reads lines `NAME N` or `NAME_ARGUMENT N` from stdin and answers each with what one of N operations
took: nanoseconds of processor time, for memory bytes.
"""
import sys
from functools import partial
from itertools import repeat
from time import process_time_ns

try:
    from greenlet import getcurrent, greenlet
except ImportError:
    pass  # generators need none


def answer(parent):
    switch = parent.switch
    while True:
        switch()


def echo(parent):
    switch = parent.switch
    value = None
    while True:
        value = switch(value)


def through_c(depth, parent):
    """Every level is a call of C that calls Python back."""
    if not depth:
        answer(parent)
    sorted((depth,), key=lambda depth: through_c(depth - 1, parent))


def through_python(depth, parent):
    if not depth:
        answer(parent)
    through_python(depth - 1, parent)


def python_python(n, run=answer):
    g = greenlet(run)
    g.switch(getcurrent())
    switch = g.switch
    start = process_time_ns()
    for _ in repeat(None, n):
        switch()
    time = process_time_ns() - start
    g.throw()
    return time / n


def python_python_arg(n):
    g = greenlet(echo)
    g.switch(getcurrent())
    switch = g.switch
    start = process_time_ns()
    for _ in repeat(None, n):
        switch(n)
    time = process_time_ns() - start
    g.throw()
    return time / n


def python_deep_c(n, depth=50):
    return python_python(n, partial(through_c, depth))


def python_deep_py(n, depth=200):
    return python_python(n, partial(through_python, depth))


def stack_c(n, depth):
    """How many bytes of C stack the greenlet of python_deep_c has."""
    g = greenlet(partial(through_c, depth))
    g.switch(getcurrent())
    size = g._stack_saved
    g.throw()
    return size


def yielder():
    while True:
        yield


def generator(n):
    g = yielder()
    send = g.send
    send(None)
    start = process_time_ns()
    for _ in repeat(None, n):
        send(None)
    return (process_time_ns() - start) / n


def nothing():
    pass


def create(n):
    start = process_time_ns()
    for _ in repeat(None, n):
        greenlet(nothing).switch()
    return (process_time_ns() - start) / n


def empty():
    return
    yield


def create_generator(n):
    start = process_time_ns()
    for _ in repeat(None, n):
        next(empty(), None)
    return (process_time_ns() - start) / n


def hop(switch, creator):
    creator.switch()
    while True:
        switch()


def ring(n, size=10000):
    """One operation is one hop to the next greenlet of the ring."""
    after = main = getcurrent()
    greenlets = []
    for _ in repeat(None, size):
        g = greenlet(hop)
        g.switch(after.switch, main)
        greenlets.append(g)
        after = g
    switch = after.switch
    laps = max(1, n // size)
    switch()
    start = process_time_ns()
    for _ in repeat(None, laps):
        switch()
    time = process_time_ns() - start
    for g in greenlets:
        g.throw()
    return time / (laps * size)


def collision(n):
    return ring(n, 100)


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096


def memory_python(n, _=0):
    main = getcurrent()
    before = resident()
    greenlets = [greenlet(answer) for _ in repeat(None, n)]
    for g in greenlets:
        g.switch(main)
    return (resident() - before) / n


def gevent_spawn(n):
    import gevent
    start = process_time_ns()
    for _ in repeat(None, n // 1000):
        gevent.joinall([gevent.spawn(nothing) for _ in repeat(None, 1000)])
    return (process_time_ns() - start) / (n // 1000 * 1000)


def gevent_pywsgi(n, clients=50):
    """One operation is one request, with what its client does."""
    import gevent
    from gevent import pywsgi, socket

    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    def client(requests):
        with socket.create_connection(server.address) as connection:
            for _ in repeat(None, requests):
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                reply = b""
                while not reply.endswith(b"\r\n\r\nok"):
                    data = connection.recv(4096)
                    if not data:
                        raise EOFError(reply)
                    reply += data

    server = pywsgi.WSGIServer(("127.0.0.1", 0), application, log=None)
    server.start()
    requests = max(1, n // clients)
    start = process_time_ns()
    gevent.joinall([gevent.spawn(client, requests) for _ in repeat(None, clients)],
                   raise_error=True)
    time = process_time_ns() - start
    server.stop()
    return time / (requests * clients)


def three_times(parent):
    parent.switch()
    parent.switch()


def peak():
    with open("/proc/self/status") as f:
        return int(f.read().partition("VmHWM:")[2].split()[0]) * 1024


def million(n):
    """N greenlets alive at once: seconds for creating them up to their first switch back, for
    going to each and back once more, and for finishing and dropping all; bytes at the peak."""
    main = getcurrent()
    start = process_time_ns()
    greenlets = [greenlet(three_times) for _ in repeat(None, n)]
    for g in greenlets:
        g.switch(main)
    created = process_time_ns()
    for g in greenlets:
        g.switch()
    switched = process_time_ns()
    for g in greenlets:
        g.switch()
    assert greenlets[0].dead and greenlets[-1].dead
    del g, greenlets
    finished = process_time_ns()
    times = created - start, switched - created, finished - switched
    return " ".join(str(time / 1e9) for time in times) + f" {peak()}"


def main():
    for line in sys.stdin:
        name, n = line.split()
        if name in globals():
            answer = globals()[name](int(n))
        else:
            name, _, argument = name.rpartition("_")
            answer = globals()[name](int(n), int(argument))
        print(answer, flush=True)


main()
