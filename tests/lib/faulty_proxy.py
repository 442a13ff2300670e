# SPDX-License-Identifier: Apache-2.0
"""A plain HTTP door to an API server that makes its faults: refusals, errors, lost answers, slowness, lists from the past,
watches that are cut (also inside an event), that are gone (410), that tell events twice, late or in the wrong order, and
a server that is away. `faults` says how likely each is; `made` counts them."""
import collections
import http.client
import http.server
import json
import queue
import random
import socket
import threading
import time
import urllib.parse

import kubeconfig

HOP = ("connection", "transfer-encoding", "content-length", "keep-alive", "host", "accept-encoding", "authorization")
# How likely each is while the weather is bad.
FAULTS = {"slow": 0.05, "429": 0.05, "500": 0.05, "lost": 0.05, "410": 0.2, "stale": 0.3, "twice": 0.1, "reorder": 0.1}
REASONS = {410: "Expired", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}


class FaultyProxy(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, api, seed=1):
        super().__init__(("127.0.0.1", 0), Handler)
        self.api, self.random, self.lock = api, random.Random(seed), threading.Lock()
        self.faults, self.made, self.away = {}, collections.Counter(), False
        self.open, self.old = [], {}  # queues of open watches; path -> (time, version) of lists
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def kubeconfig(self, path):
        return kubeconfig.write(path, f"http://127.0.0.1:{self.server_port}")

    def handle_error(self, request, client_address):
        pass  # clients are killed, servers go away

    def hit(self, fault):
        """Whether this fault is to be made now."""
        with self.lock:
            found = self.random.random() < self.faults.get(fault, 0)
            self.made[fault] += found
        return found

    def cut(self, how="cut"):
        """Ends all watches; "tear": inside an event."""
        with self.lock:
            for events in self.open:
                self.made[how] += 1
                events.put(how)

    def outage(self, on):
        self.away = on
        if on:
            self.made["outage"] += 1
            self.cut()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream = None

    def log_message(self, *args):
        pass

    def connect(self):
        at = urllib.parse.urlsplit(self.server.api.server)
        return http.client.HTTPSConnection(at.hostname, at.port, timeout=60, context=self.server.api.context)

    def headers_up(self):
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
        if self.server.api.token:
            headers["Authorization"] = f"Bearer {self.server.api.token}"
        return headers

    def status(self, code, **headers):
        body = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                           "reason": REASONS[code], "message": "a fault was made"}).encode()
        self.send(code, {"Content-Type": "application/json", **headers}, body)

    def send(self, code, headers, body):
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def forward(self, body):
        """The whole answer, over a kept connection."""
        for fresh in (False, True):
            if self.upstream is None or fresh:
                self.upstream = self.connect()
            try:
                self.upstream.request(self.command, self.path, body, self.headers_up())
                got = self.upstream.getresponse()
                return got.status, {k: v for k, v in got.getheaders() if k.lower() not in HOP}, got.read()
            except (OSError, http.client.HTTPException):
                if fresh or (body is not None and self.command == "POST"):
                    raise
        raise AssertionError

    def any(self):
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        if server.away:
            self.close_connection = True
            return
        if server.hit("slow"):
            time.sleep(server.random.uniform(0.1, 1.5))
        if server.hit("429"):
            self.status(429, **{"Retry-After": "1"})
        elif server.hit("500"):
            self.status(500)
        elif query.get("watch", ["0"])[0] in ("1", "true"):
            self.watch()
        else:
            self.plain(body, listing=self.command == "GET" and "limit" in query)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = any

    def plain(self, body, listing):
        server, old = self.server, None
        if listing and "continue=" not in self.path:
            old = server.old.get(self.path)
            if old is not None and time.monotonic() - old[0] < 30 and server.hit("stale"):
                self.send(*old[1])
                return
        answer = self.forward(body)
        if body is not None and server.hit("lost"):
            self.close_connection = True  # it was done, and nobody is told
            return
        if listing and old is None and b'"continue":"' not in answer[2]:
            server.old[self.path] = (time.monotonic(), answer)
        elif old is not None and time.monotonic() - old[0] > 5:
            server.old.pop(self.path, None)
        self.send(*answer)

    def watch(self):
        server, events = self.server, queue.Queue()
        if "resourceVersion=" in self.path and server.hit("410"):
            line = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}).encode()
            self.send(200, {"Content-Type": "application/json"}, line + b"\n")
            return
        conn = self.connect()
        conn.request("GET", self.path, headers=self.headers_up())
        got = conn.getresponse()
        if got.status != 200:
            self.send(got.status, {"Content-Type": "application/json"}, got.read())
            conn.close()
            return
        threading.Thread(target=self.read_events, args=(got, events), daemon=True).start()
        with server.lock:
            server.open.append(events)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self.tell(events)
        finally:
            with server.lock:
                server.open.remove(events)
            try:
                conn.sock.shutdown(socket.SHUT_RDWR)
            except (OSError, AttributeError):
                pass
            got.close()
            conn.close()

    def read_events(self, got, events):
        try:
            for line in got:
                events.put(line)
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass
        events.put("end")

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def tell(self, events):
        """A held event goes after the next one, or after a moment; none is lost."""
        server, held, told = self.server, [], collections.deque(maxlen=20)
        while True:
            try:
                line = events.get(timeout=0.2 if held else 3600)
            except queue.Empty:
                line = b""
            if isinstance(line, str):
                for event in held:
                    self.chunk(event)
                if line == "end":
                    self.wfile.write(b"0\r\n\r\n")
                elif line == "tear" and told:
                    self.chunk(told[-1][:len(told[-1]) // 2])
                self.close_connection = True
                return
            if line and not held and server.hit("reorder"):
                held.append(line)
                continue
            for event in [line, *held] if line else held:
                self.chunk(event)
                told.append(event)
            held.clear()
            if told and server.hit("twice"):
                self.chunk(server.random.choice(told))
