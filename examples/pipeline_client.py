"""The Python side of pipeline.lua: a server, and a client that is written as if it blocked.

`Socket` is a socket whose waits suspend only the task. With it http.client, which knows nothing of
tasks, is a client of which hundreds run at once.
"""
import http.client
import http.server
import socket
import threading

import moonlet


class Socket(socket.socket):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.setblocking(False)

    def connect(self, address):
        try:
            super().connect(address)
        except BlockingIOError:
            moonlet.wait_writable(self)
            error = self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, "connect failed")

    def recv_into(self, *args):
        while True:
            try:
                return super().recv_into(*args)
            except BlockingIOError:
                moonlet.wait_readable(self)

    def sendall(self, data, flags=0):
        data = memoryview(data).cast("B")
        while data:
            try:
                data = data[self.send(data, flags):]
            except BlockingIOError:
                moonlet.wait_writable(self)

    def gettimeout(self):
        return None  # as far as others can tell, it blocks


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = Socket()
        self.sock.connect((self.host, self.port))


class Pages(http.server.BaseHTTPRequestHandler):
    """Page i has i bytes. Every tenth fails at first, every fiftieth hangs at first."""

    protocol_version = "HTTP/1.1"
    asked = set()
    released = threading.Event()

    def do_GET(self):
        number = int(self.path.rpartition("/")[2])
        again = number in self.asked
        self.asked.add(number)
        if number % 50 == 0 and not again:
            self.released.wait()
            return
        body = b"." * number
        self.send_response(503 if number % 10 == 0 and not again else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256

    def handle_error(self, request, address):
        pass  # a client that has given up


def serve():
    """A server in threads of its own: its port, and what stops it."""
    server = Server(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def stop():
        Pages.released.set()
        server.shutdown()
        thread.join()
        server.server_close()

    return server.server_address[1], stop


class Unavailable(Exception):
    pass


def attempt(port, path):
    connection = Connection("127.0.0.1", port)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise Unavailable(response.status)
        return body
    finally:
        connection.close()


def fetch(port, path, seconds):
    """The page and in how many attempts, each for so many seconds, it came."""
    for number in range(1, 4):
        try:
            with moonlet.fail_after(seconds):
                return attempt(port, path), number
        except (TimeoutError, Unavailable):
            moonlet.sleep(0.01 * 2 ** number)
    raise Unavailable(path)


class Fetcher:
    """A task for each page: what it is called with."""

    def __init__(self, port, limiter, pages, seconds):
        self.port, self.limiter, self.pages, self.seconds = port, limiter, pages, seconds
        self.active = self.most = 0

    def __call__(self, number):
        with self.limiter:
            self.active += 1
            self.most = max(self.most, self.active)
            body, attempts = fetch(self.port, "/%d" % number, self.seconds)
            self.active -= 1
        self.pages.send({"number": number, "size": len(body), "attempts": attempts})
