# SPDX-License-Identifier: Apache-2.0
"""Requests timed onto the moments at which functions go from one replica to none, through a real Lull.

Each function is left alone until it goes to zero, and gets a burst of requests just then. Half of the bursts are
predicted: the autoscaler looks at a function every two seconds, so that from one edge follows when the next may be; they
begin up to 30 ms before it or after it. The others are set off by the end of the Pod, and spread over the 60 ms after
it. All times come from a seed. One thread drives all connections."""
import collections
import heapq
import json
import random
import selectors
import socket
import threading
import time
import http.client

PERIOD = 2.0  # seconds between two looks at one function
FRESH = 30.0  # a connection that was idle for longer is not used again: the activator may be closing it just now
STUCK = 12.0  # a function that was left alone for so long and whose edge was not seen: the watch may have missed it


class Watch(threading.Thread):
    """Tells of every Pod that begins to end: (function, replica, time) go into `ended`, a byte into `wake`."""

    def __init__(self, api):
        super().__init__(daemon=True)
        self.api, self.ended, self.problem = api, collections.deque(), None
        self.seen = set()
        self.wake, self._waker = socket.socketpair()
        self.wake.setblocking(False)

    def run(self):
        while True:
            try:
                self._watch()
            except (OSError, ValueError, http.client.HTTPException) as problem:  # of the end, or a restart
                self.problem = problem
                time.sleep(0.1)

    def _watch(self):
        host, _, port = self.api.server.removeprefix("https://").partition(":")
        conn = http.client.HTTPSConnection(host, int(port), context=self.api.context, timeout=60)
        conn.request("GET", "/api/v1/namespaces/default/pods?watch=1",
                     headers={"Authorization": f"Bearer {self.api.token}"})
        answer = conn.getresponse()
        while line := answer.readline():
            event = json.loads(line)
            meta = event["object"].get("metadata", {})
            replica = meta.get("annotations", {}).get("lull.dev/replica-id")
            if replica and replica not in self.seen and (event["type"] == "DELETED" or "deletionTimestamp" in meta):
                self.seen.add(replica)
                self.ended.append((meta["labels"]["serving.knative.dev/service"], replica, time.monotonic()))
                self._waker.send(b"x")


class Call:
    __slots__ = ("function", "sock", "sent", "buf", "fresh")

    def __init__(self, function, sock, fresh):
        self.function, self.sock, self.fresh = function, sock, fresh
        self.buf, self.sent = b"", time.monotonic()


class Function:
    def __init__(self, name, predicted):
        self.name, self.predicted = name, predicted
        self.last = time.monotonic()  # when the last answer came
        self.edge = None  # when it went to zero last
        self.pending = 0  # requests planned or under way
        self.waiting = False  # for its edge: nothing is planned


class Edges:
    """run() makes bursts until enough requests were made, then lets the last ones end."""

    def __init__(self, port, api, names, seed, burst=(8, 24)):
        self.port, self.rng, self.burst = port, random.Random(seed), burst
        self.watch = Watch(api)
        self.functions = {n: Function(n, i % 2 == 0) for i, n in enumerate(names)}
        self.actions, self.turn = [], 0  # (when, turn, function)
        self.selector = selectors.EpollSelector()
        self.selector.register(self.watch.wake, selectors.EVENT_READ)
        self.calls, self.idle = {}, {}  # socket: its call; socket: idle since, the oldest first
        self.ended_at = {}  # replica: when its Pod began to end
        self.made = self.answered = self.held = self.draining = self.edges = self.missed = 0
        self.bad = []

    # --- one request ---

    def forget(self, sock):
        self.selector.unregister(sock)
        del self.idle[sock]
        sock.close()

    def forget_old(self):
        for sock, since in list(self.idle.items()):
            if time.monotonic() - since < FRESH:
                return
            self.forget(sock)

    def ask(self, function):
        self.made += 1
        self.forget_old()
        fresh = not self.idle or self.rng.random() < 0.3
        if fresh:
            sock = socket.create_connection(("127.0.0.1", self.port), 10)
            sock.setblocking(False)
        else:
            sock, _ = self.idle.popitem()
            self.selector.unregister(sock)
        call = Call(function, sock, fresh)
        self.calls[sock] = call
        self.selector.register(sock, selectors.EVENT_READ)
        try:
            sock.send(f"GET / HTTP/1.1\r\nHost: {function.name}.default.localhost\r\n\r\n".encode())
        except OSError as problem:
            self.over(call, f"cannot be sent: {problem}")

    def over(self, call, bad=None):
        self.selector.unregister(call.sock)
        del self.calls[call.sock]
        call.function.pending -= 1
        call.function.last = time.monotonic()
        if bad:
            call.sock.close()
            self.bad.append(f"{call.function.name} ({'new' if call.fresh else 'kept'} connection): {bad}")
            return
        self.selector.register(call.sock, selectors.EVENT_READ)  # an idle one that is closed shows so
        self.idle[call.sock] = time.monotonic()

    def readable(self, sock):
        call = self.calls.get(sock)
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as problem:
            data = b""
            if call:
                call.buf += f" ({problem})".encode()
        if not call:
            self.forget(sock)
            return
        call.buf += data
        head, sep, body = call.buf.partition(b"\r\n\r\n")
        if sep and body.endswith(b"\n"):
            self.answer(call, head.decode("latin-1"), body)
        elif not data:
            self.over(call, f"closed after {call.buf[:300]!r}")

    def answer(self, call, head, body):
        if not head.startswith("HTTP/1.1 200"):
            self.over(call, head.split("\r\n")[0] + " " + body.decode(errors="replace").strip()[:200])
            return
        self.answered += 1
        ended = self.ended_at.get(json.loads(body)["replica"])
        if "server-timing: queue" in head.lower():
            self.held += 1
        elif ended and ended < time.monotonic():
            self.draining += 1
        self.over(call)

    # --- when ---

    def plan(self, function, begin, spread):
        n = self.rng.randint(*self.burst)
        function.pending, function.waiting = n, False
        for _ in range(n):
            self.turn += 1
            heapq.heappush(self.actions, (begin + self.rng.uniform(0, spread), self.turn, function))

    def leave_alone(self, function):
        """Its burst is over: the next one at a predicted edge, or at the one that is seen."""
        function.waiting = True
        if function.predicted and function.edge and self.rng.random() < 0.7:
            at = function.edge + PERIOD
            while at < function.last + 1.0:
                at += PERIOD
            self.plan(function, at + self.rng.uniform(-0.03, 0.03), 0.02)

    def edge(self, name, replica, at):
        function = self.functions.get(name)
        self.ended_at[replica] = at
        if not function:
            return
        self.edges += 1
        function.edge = at
        if function.waiting:
            self.plan(function, time.monotonic(), 0.06)

    def turn_once(self):
        now = time.monotonic()
        while self.actions and self.actions[0][0] <= now:
            self.ask(heapq.heappop(self.actions)[2])
        wait = self.actions[0][0] - time.monotonic() if self.actions else 0.1
        for key, _ in self.selector.select(min(0.1, max(0.0, wait))):
            if key.fileobj is self.watch.wake:
                self.watch.wake.recv(4096)
            else:
                self.readable(key.fileobj)
        while self.watch.ended:
            self.edge(*self.watch.ended.popleft())

    def run(self, requests, seconds):
        """Until so many requests were made or so much time is over."""
        self.watch.start()
        end = time.monotonic() + seconds
        for f in self.functions.values():
            self.plan(f, time.monotonic(), 0.5)
        while self.made < requests and time.monotonic() < end and not self.bad:
            self.turn_once()
            for f in self.functions.values():
                if f.pending == 0 and not f.waiting:
                    self.leave_alone(f)
                elif f.waiting and time.monotonic() - f.last > STUCK:
                    self.missed += 1
                    self.plan(f, time.monotonic(), 0.06)
        if self.missed > 5 + self.edges / 10:
            self.bad.append(f"{self.missed} times no edge within {STUCK:.0f} s, {self.edges} were seen")
        for _, _, f in self.actions:
            f.pending -= 1
        self.actions = []
        end = time.monotonic() + 30
        while self.calls and time.monotonic() < end:
            self.turn_once()
            self.actions = []  # no new bursts
        self.bad += [f"{c.function.name}: no answer for {time.monotonic() - c.sent:.0f} s" for c in self.calls.values()]
        for sock in [*self.calls, *self.idle]:
            sock.close()
        self.selector.close()
        return self.told()

    def told(self):
        return {"requests": self.made, "answered": self.answered, "edges": self.edges, "held": self.held,
                "onDrainingReplica": self.draining, "missed": self.missed, "bad": self.bad[:20]}
