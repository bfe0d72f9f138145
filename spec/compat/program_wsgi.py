"""A gevent WSGI server under 200 clients at a time."""

import hashlib
import unittest
from contextlib import contextmanager

import gevent
from gevent import pywsgi, queue, socket
from gevent.pool import Pool

CLIENTS = 200
REQUESTS = 5


def echo(body, start_response):
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def stream(start_response):
    """A body that another greenlet makes, a piece at a time."""
    pieces = queue.Queue(2)

    def produce():
        for number in range(20):
            gevent.sleep(0.001)
            pieces.put(b"%d;" % number)
        pieces.put(StopIteration)
    gevent.spawn(produce)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (piece for piece in pieces)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/echo":
        return echo(environ["wsgi.input"].read(), start_response)
    if path == "/stream":
        return stream(start_response)
    if path == "/slow":
        gevent.sleep(0.2)
        return echo(b"slow", start_response)
    if path == "/thread":
        result = gevent.get_hub().threadpool.apply(hashlib.sha256, (b"moon",))
        return echo(result.hexdigest().encode(), start_response)
    raise LookupError(path)


@contextmanager
def server():
    """A running server; yields its address."""
    found = pywsgi.WSGIServer(("127.0.0.1", 0), application, log=None, error_log=None,
                              backlog=CLIENTS)
    found.start()
    try:
        yield found.address
    finally:
        found.stop()


def response(file):
    """Reads one response; returns its status and its body."""
    status = int(file.readline().split()[1])
    headers = {}
    for line in iter(file.readline, b"\r\n"):
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    if "content-length" in headers:
        return status, file.read(int(headers["content-length"]))
    body = b""
    while size := int(file.readline(), 16):
        body += file.read(size)
        file.readline()
    file.readline()
    return status, body


def request(connection, file, path, body=b""):
    connection.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
                       % (path.encode(), len(body), body))
    return response(file)


class Server(unittest.TestCase):

    def clients(self, work):
        """Runs work(connection, file, number) in 200 clients at once."""
        def client(number):
            with socket.create_connection(address) as connection:
                with connection.makefile("rb") as file:
                    work(connection, file, number)
        with server() as address, gevent.Timeout(90):
            jobs = [gevent.spawn(client, number) for number in range(CLIENTS)]
            gevent.joinall(jobs, raise_error=True)

    def test_every_client_gets_its_own_answers(self):
        def work(connection, file, number):
            for turn in range(REQUESTS):
                body = b"%d %d " % (number, turn) * (1 + 100 * (number % 7))
                self.assertEqual(request(connection, file, "/echo", body), (200, body))
        self.clients(work)

    def test_bodies_made_by_other_greenlets(self):
        whole = b"".join(b"%d;" % number for number in range(20))

        def work(connection, file, _number):
            self.assertEqual(request(connection, file, "/stream"), (200, whole))
        self.clients(work)

    def test_threads_of_the_pool(self):
        digest = hashlib.sha256(b"moon").hexdigest().encode()

        def work(connection, file, _number):
            self.assertEqual(request(connection, file, "/thread"), (200, digest))
        self.clients(work)

    def test_errors_and_timeouts_among_good_answers(self):
        def work(connection, file, number):
            if number % 3 == 0:
                self.assertEqual(request(connection, file, "/none")[0], 500)
            elif number % 3 == 1:
                with self.assertRaises(gevent.Timeout), gevent.Timeout(0.01):
                    request(connection, file, "/slow")
            else:
                self.assertEqual(request(connection, file, "/slow"), (200, b"slow"))
        self.clients(work)

    def test_killed_clients_leave_the_server_well(self):
        with server() as address, gevent.Timeout(90):
            def wait():
                with socket.create_connection(address) as connection:
                    with connection.makefile("rb") as file:
                        request(connection, file, "/slow")
            pool = Pool(CLIENTS)
            for _ in range(CLIENTS):
                pool.spawn(wait)
            gevent.sleep(0.1)
            pool.kill()
            self.assertEqual(len(pool), 0)
            with socket.create_connection(address) as connection:
                with connection.makefile("rb") as file:
                    self.assertEqual(request(connection, file, "/echo", b"well"),
                                     (200, b"well"))


if __name__ == "__main__":
    unittest.main()
