# SPDX-License-Identifier: Apache-2.0
"""Raw sockets for HTTP/1.1 tests: a client that sends exactly the bytes it is given, and a function
(`Backend`) that reads requests as strictly as RFC 9112 asks for, records them, and answers by script."""
import socket
import threading
import time


class Reply:
    """One answer as it was on the wire."""

    def __init__(self, status, headers, body, framing):
        self.status, self.headers, self.body, self.framing = status, headers, body, framing

    def get(self, name):
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:80]!r}>"


class Closed(Exception):
    """The peer ended the connection before a whole message was there."""


class Reader:
    """Reads messages from a socket; strict: it raises on anything that is not well formed."""

    def __init__(self, sock):
        self.sock, self.buf = sock, bytearray()
        self.trailers = []  # of the last chunked body

    def more(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionError as e:
            raise Closed(bytes(self.buf)) from e
        if not data:
            raise Closed(bytes(self.buf))
        self.buf += data

    def until(self, mark):
        while mark not in self.buf:
            self.more()
        got, _, rest = self.buf.partition(mark)
        self.buf = rest
        return bytes(got)

    def exactly(self, n):
        while len(self.buf) < n:
            self.more()
        got = bytes(self.buf[:n])
        del self.buf[:n]
        return got

    def rest(self):
        try:
            while True:
                self.more()
        except Closed:
            got, self.buf = bytes(self.buf), bytearray()
            return got

    def head(self):
        lines = self.until(b"\r\n\r\n").split(b"\r\n")
        headers = []
        for line in lines[1:]:
            name, sep, value = line.partition(b":")
            assert sep and name and name == name.strip(), f"malformed header {line!r}"
            assert b"\r" not in line and b"\n" not in line and b"\0" not in line, line
            headers.append((name.decode("latin-1"), value.strip().decode("latin-1")))
        return lines[0].decode("latin-1"), headers

    def chunked(self):
        body, self.trailers = b"", []
        while True:
            size = self.until(b"\r\n")
            assert size and all(c in b"0123456789abcdefABCDEF" for c in size), f"chunk size {size!r}"
            n = int(size, 16)
            if n == 0:
                while line := self.until(b"\r\n"):
                    name, _, value = line.decode("latin-1").partition(":")
                    self.trailers.append((name, value.strip()))
                return body
            body += self.exactly(n)
            assert self.exactly(2) == b"\r\n"

    def body(self, headers, is_reply):
        te = [v for k, v in headers if k.lower() == "transfer-encoding"]
        cl = [v for k, v in headers if k.lower() == "content-length"]
        assert len(te) + len(cl) <= 1, f"ambiguous length: {headers}"
        if te:
            assert te == ["chunked"], te
            return self.chunked(), "chunked"
        if cl:
            assert cl[0].isdigit(), cl
            return self.exactly(int(cl[0])), "length"
        return (self.rest(), "close") if is_reply else (b"", "none")

    def reply(self, method="GET"):
        """The next final answer; 1xx answers before it are kept in `informed`."""
        self.informed = []
        while True:
            line, headers = self.head()
            version, status, *_ = line.split(" ", 2)
            assert version == "HTTP/1.1", line
            if int(status) >= 200 or int(status) == 101:
                break
            self.informed.append((int(status), headers))
        if method == "HEAD" or int(status) in (101, 204, 304):
            return Reply(int(status), headers, b"", "none")
        self.trailers = []
        body, framing = self.body(headers, True)
        reply = Reply(int(status), headers, body, framing)
        reply.trailers = self.trailers
        return reply


class Client(Reader):
    """A connection to a TCP port or a unix socket path."""

    def __init__(self, to, timeout=10):
        sock = socket.socket(socket.AF_INET if isinstance(to, int) else socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(("127.0.0.1", to) if isinstance(to, int) else str(to))
        super().__init__(sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)
        return self

    def ask(self, data, method="GET"):
        return self.send(data).reply(method)

    def closed(self):
        """Whether the peer ends the connection, with nothing more to read."""
        try:
            return self.rest() == b""
        except TimeoutError:
            return False


class Request:
    def __init__(self, line, headers, body, framing):
        self.line, self.headers, self.body, self.framing = line, headers, body, framing
        self.method, self.target, _ = line.split(" ")

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    def get(self, name):
        return next(iter(self.all(name)), None)

    def __repr__(self):
        return f"<{self.line} {self.headers} {self.body[:40]!r}>"


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Backend:
    """A function. `answer(request, sock)` gives the bytes to send, or None when it has sent (or
    closed) by itself. It keeps connections alive until the client ends them or an answer says close."""

    def __init__(self, answer=None, port=0):
        self.answer = answer or (lambda request, sock: OK)
        self.requests, self.connections, self.errors = [], 0, []
        self.raw = b""
        self.lock = threading.Lock()
        self.running, self.most = 0, 0
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.stopping = False
        self.socks = set()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.stopping:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.socks.add(sock)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        reader = Reader(sock)
        with self.lock:
            self.connections += 1
        try:
            while True:
                line, headers = reader.head()
                if any(k.lower() == "expect" for k, _ in headers):
                    sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                body, framing = reader.body(headers, False)
                request = Request(line, headers, body, framing)
                request.trailers, reader.trailers = reader.trailers, []
                with self.lock:
                    self.requests.append(request)
                    self.running += 1
                    self.most = max(self.most, self.running)
                try:
                    data = self.answer(request, sock)
                finally:
                    with self.lock:
                        self.running -= 1
                if data is not None:
                    sock.sendall(data)
                    if b"\r\nconnection: close\r\n" in data.lower():
                        break
        except Closed as e:
            if e.args and e.args[0]:
                self.errors.append(f"cut in the middle: {e.args[0][:100]!r}")
        except OSError:
            pass
        except (AssertionError, ValueError) as e:
            self.errors.append(repr(e))
        finally:
            self.socks.discard(sock)
            sock.close()

    def stop(self):
        self.stopping = True
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which would keep the port
        self.listener.close()
        for s in list(self.socks):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def wait(self, condition, seconds=10):
        """Until condition(self) holds."""
        end = time.monotonic() + seconds
        while not condition(self):
            assert time.monotonic() < end, f"{len(self.requests)} requests, {self.errors}"
            time.sleep(0.002)
