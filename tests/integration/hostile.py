# SPDX-License-Identifier: Apache-2.0
"""What the hostile tests share: a function that records what reaches it, byte for byte; clients that send what no
honest client sends; and the three places where it is tried: the queue-proxy alone, the activator alone (its API
server and its replica are the test's), and both in a row. All of it lives on one event loop, so that a test needs
no thread and nothing depends on how threads are scheduled."""
import asyncio
import hashlib
import json
import os
import pathlib
import random
import re
import resource
import shutil
import socket
import subprocess
import tempfile
import time

import strict_http as strict
from conftest import BUILD, binary, free_ports
from fake_api import FakeApi, pod, revision, route

ASAN = "asan" in BUILD.name
SOAK = bool(os.environ.get("LULL_SOAK"))
HOSTS = ("a", "b", "b.example.com")  # the activator's routes, all to one function
PATIENCE = float(os.environ.get("LULL_PATIENCE", "30"))  # seconds until a test says that something did not happen


def mutation_seed():
    """The same messages each time; LULL_FRAMING_SEED=N makes others, LULL_FRAMING_SEED=random (and the soak form) new ones."""
    want = os.environ.get("LULL_FRAMING_SEED", "random" if SOAK else "1")
    seed = random.randrange(10 ** 9) if want == "random" else int(want)
    print(f"LULL_FRAMING_SEED={seed}")
    return seed


def digest(request):
    return hashlib.sha256(b"\0".join(request.key())).hexdigest()[:16].encode()


def answer_with(body, *headers, status=b"200 OK"):
    return b"".join((b"HTTP/1.1 ", status, b"\r\n", *(h + b"\r\n" for h in headers),
                     b"Content-Length: %d\r\n\r\n" % len(body), body))


def raise_descriptors():
    """As many for this process, and for those that it starts, as there may be."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Function:
    """A function, or a replica's end of the hop. It reads as strictly as strict_http does: what is malformed is kept in
    `wrong`. Each request is answered with a digest of what was seen, so that an answer that reaches the wrong client
    is noticed; `answer(request, writer)`, a coroutine, says otherwise: its bytes, or None when it has written itself."""

    def __init__(self, loop, path=None, port=0):
        self.requests, self.wrong, self.cuts, self.connections = [], [], 0, 0
        self.running = self.most = 0
        self.answer = None
        self.early = None  # bytes that are sent as soon as a head is there whose body is not
        self.loop, self.path, self.port = loop, path, port
        self.server, self.tasks = None, set()
        loop.run_until_complete(self.listen())

    async def listen(self):
        if self.path:
            self.server = await asyncio.start_unix_server(self.serve, self.path, backlog=4096, limit=2 ** 20)
        else:
            self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port, backlog=4096, limit=2 ** 20)
            self.port = self.server.sockets[0].getsockname()[1]

    def deaf(self):
        """Stops listening; connections go on."""
        self.server.close()

    def stop(self):
        self.server.close()
        for task in self.tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))

    async def serve(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        self.connections += 1
        writer.peer = reader  # for an answer that wants to see the proxy go
        try:
            await self.converse(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()

    async def converse(self, reader, writer):
        data, asked = b"", False
        while True:
            try:
                request, end = strict.request(data)
            except strict.Malformed as e:
                self.wrong.append((repr(e), data[:400]))
                return
            except strict.Incomplete:
                if not asked and b"\r\n\r\n" in data and re.search(rb"\r\nexpect: *100-continue\r\n", data, re.I):
                    asked = True
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                if self.early is not None and b"\r\n\r\n" in data:
                    writer.write(self.early)
                    while await reader.read(2 ** 20):
                        pass
                    return
                more = await reader.read(2 ** 20)
                if not more:
                    self.cuts += bool(data)
                    return
                data += more
                continue
            data, asked = data[end:], False
            if self.path and request.get("k-network-probe") == b"queue":  # it stands in for a queue-proxy
                writer.write(answer_with(b"queue"))
                continue
            self.requests.append(request)
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                out = answer_with(digest(request)) if self.answer is None else await self.answer(request, writer)
            finally:
                self.running -= 1
            if out is None:
                return
            writer.write(out if request.method != b"HEAD" else out.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
            await writer.drain()
            if request.close:
                return


class Connection:
    """One client connection: `data` is all that came, `ended` whether the peer has said its last."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.data, self.ended = reader, writer, b"", False

    async def send(self, data, step=None):
        """All of it, or by `step` bytes, each in a write of its own. Whether the peer took it."""
        try:
            for at in range(0, len(data), step or len(data) or 1):
                self.writer.write(data[at:at + (step or len(data))])
                if step:
                    await asyncio.sleep(0)
            await self.writer.drain()
            return True
        except OSError:
            return False

    async def more(self, seconds):
        """Whether bytes or the end came within that time."""
        try:
            got = await asyncio.wait_for(self.reader.read(2 ** 18), seconds)
        except asyncio.TimeoutError:
            return False
        except OSError:
            got = b""
        self.data += got
        self.ended = self.ended or not got
        return True

    async def until(self, condition, seconds=PATIENCE):
        """Reads until condition(data) holds or the peer ends. Whether it came to that in time."""
        end = time.monotonic() + seconds
        while not self.ended and not condition(self.data):
            if not await self.more(max(0.001, end - time.monotonic())):
                return False
        return True

    def finish(self):
        """Says that this client has nothing more to send."""
        try:
            self.writer.write_eof()
        except OSError:
            pass

    def reset(self):
        """Breaks it off with RST, where the socket knows that."""
        sock = self.writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()

    def close(self):
        self.writer.transport.abort()

    def replies(self, methods=()):
        return strict.replies(self.data, methods, self.ended)


class Target:
    """One place where hostile bytes come in. `address` is where; `function` is what stands behind."""

    name = ""

    def __init__(self, **options):
        self.loop = asyncio.new_event_loop()
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="lull-h-", dir="/tmp"))
        self.processes, self.logs = [], []
        self.local = None
        self.begin(**options)

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    async def connect(self, address=None, **more):
        """A connection, tried again while the backlog is full."""
        to = address or self.address
        for _ in range(100):
            try:
                if isinstance(to, int):
                    return Connection(*await asyncio.open_connection("127.0.0.1", to, limit=2 ** 18, **more))
                return Connection(*await asyncio.open_unix_connection(str(to), limit=2 ** 18, **more))
            except (BlockingIOError, ConnectionRefusedError):
                await asyncio.sleep(0.02)
        raise AssertionError(f"{to} does not accept")

    async def ask(self, data, method=b"GET", seconds=PATIENCE, address=None):
        """One honest request and its answer."""
        c = await self.connect(address)
        await c.send(data)
        try:
            assert await c.until(lambda _: c.replies([method]), seconds), f"no answer within {seconds} s: {c.data[:200]}"
            got = c.replies([method])
            assert got, "closed without an answer"
            return got[0]
        finally:
            c.close()

    async def wait(self, condition, what, seconds=PATIENCE):
        """Until condition() holds; a coroutine may be given."""
        end = time.monotonic() + seconds
        while True:
            got = condition()
            if asyncio.iscoroutine(got):
                got = await got
            if got:
                return got
            assert time.monotonic() < end, f"after {seconds} s still not: {what}"
            await asyncio.sleep(0.01)

    async def well(self, n=1):
        """It still serves, and what it serves is right."""
        for i in range(n):
            message = b"POST /well%d HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nwell" % i
            got = await self.ask(message)
            assert got.status == 200 and got.body == digest(strict.request(message)[0]), got

    def spawn(self, command, env, limits=None):
        log = open(self.home / f"log{len(self.logs)}", "w+", encoding="utf-8", errors="replace")
        self.logs.append(log)
        process = self.popen(command, env, log, limits)
        self.processes.append(process)
        return process

    @staticmethod
    def popen(command, env, log, limits=None):
        return subprocess.Popen(command, stderr=log, env=env, stdin=subprocess.DEVNULL, preexec_fn=limits)

    def log(self):
        for f in self.logs:
            f.flush()
        return "".join(pathlib.Path(f.name).read_text(errors="replace") for f in self.logs)

    def memory(self, process=None):
        """Bytes that belong to the first process alone."""
        text = pathlib.Path(f"/proc/{(process or self.processes[0]).pid}/smaps_rollup").read_text()
        return sum(int(n) for n in re.findall(r"^Private_\w+: +(\d+) kB", text, re.M)) * 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.processes[0].pid}/fd"))

    def stop(self):
        for p in self.processes:
            if p.poll() is None:
                p.kill()
            p.wait(10)
        self.end()
        self.function.stop()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        text = self.log()
        for f in self.logs:
            f.close()
        shutil.rmtree(self.home, ignore_errors=True)
        assert "Sanitizer" not in text and "runtime error" not in text, text

    def end(self):
        pass


def start_activator(target, replica, *options, limits=None):
    """The activator with the test's API server, which has one function with this replica (a unix socket)."""
    target.api = FakeApi()
    target.api.put("revisions", revision("f-1"))
    for host in HOSTS:
        target.api.put("routes", route(f"r-{host.replace('.', '-')}", {"f-1": 100}, host=host))
    if replica:
        target.api.put("pods", pod("p", "f-1", f"unix:{replica}"))
    process = target.spawn(
        [binary("lull-activator"), "--kubeconfig", str(target.api.kubeconfig(target.home / "kubeconfig")),
         "--public-listen", "127.0.0.1:0", "--local-listen", "127.0.0.1:0",
         "--admin-listen", f"unix:{target.home}/admin", "--pod-address", "unix", *options], dict(os.environ), limits)
    end = time.monotonic() + PATIENCE
    while not (ready := re.search(r'"public_port":(\d+).*"local_port":(\d+)', target.log())):
        assert time.monotonic() < end and process.poll() is None, target.log()
        time.sleep(0.01)
    target.address, target.local = int(ready[1]), int(ready[2])

    async def known():
        return not replica or (await target.state())["revisions"]
    target.run(target.wait(known, "the Pod is known"))
    return process


class QueueTarget(Target):
    name = "queue-proxy"

    def begin(self, function=None, limits=None, **env):
        self.function = Function(self.loop)
        self.address = self.home / "q"
        self.admin = self.home / "a"
        (self.port,) = free_ports(1)
        self.spawn([binary("lull-queue-proxy")], {
            "LULL_QUEUE_LISTEN": f"unix:{self.address},127.0.0.1:{self.port}", "PATH": os.environ["PATH"],
            "LULL_ADMIN_LISTEN": f"unix:{self.admin}", "USER_PORT": str(self.function.port),
            **{k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")},
            **{k: str(v) for k, v in env.items()}}, limits)

        async def ready():
            try:
                return (await self.page("/readyz")).status == 200
            except (FileNotFoundError, ConnectionRefusedError):  # not bound yet, not listening yet
                return False
        self.run(self.wait(ready, "the queue-proxy is ready"))

    async def page(self, path):
        return await self.ask(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode(), address=self.admin)

    async def metric(self, name):
        text = (await self.page("/metrics")).body.decode()
        m = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        assert m, f"no metric {name}"
        return float(m[1])

    async def idle(self):
        """No request is in it."""
        return await self.metric("lull_queue_running") + await self.metric("lull_queue_depth") == 0


class ActivatorTarget(Target):
    name = "activator"

    def begin(self, *, options=(), limits=None, replica=True):
        self.function = Function(self.loop, self.home / "r")
        self.admin = self.home / "admin"
        start_activator(self, self.home / "r" if replica else None, *options, limits=limits)

    async def page(self, path):
        return await self.ask(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode(), address=self.admin)

    async def state(self):
        return json.loads((await self.page("/debug/state")).body)

    async def idle(self):
        state = await self.state()
        return state["held"] == 0 and all(r["inFlight"] == 0 for r in state["revisions"])

    def end(self):
        self.api.close()


class ChainTarget(ActivatorTarget):
    name = "chain"

    def begin(self, *, options=(), limits=None, **env):
        QueueTarget.begin(self, **env)
        queue, self.queue_admin, self.admin = self.address, self.admin, self.home / "admin"
        start_activator(self, queue, *options, limits=limits)


TARGETS = {t.name: t for t in (QueueTarget, ActivatorTarget, ChainTarget)}
