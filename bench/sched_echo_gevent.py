"""The same as sched_echo.lua with gevent. Prints the seconds it takes."""

import time

import gevent
from gevent import socket
from gevent.server import StreamServer

CONNECTIONS, ROUNDS = 1000, 20
MESSAGE = b"x" * 64


def handle(sock, address):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        data = sock.recv(4096)
        if not data:
            return
        sock.sendall(data)


def client(port):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(ROUNDS):
            sock.sendall(MESSAGE)
            got = sock.recv(64)
            while len(got) < 64:
                got += sock.recv(64 - len(got))
            assert got == MESSAGE


def main():
    server = StreamServer(("127.0.0.1", 0), handle, backlog=1024)
    server.start()
    start = time.perf_counter()
    gevent.joinall([gevent.spawn(client, server.server_port) for _ in range(CONNECTIONS)],
                   raise_error=True)
    print(time.perf_counter() - start)
    server.stop()


main()
