# SPDX-License-Identifier: Apache-2.0
"""A real lull-broker with a real redis-server, an API that a test controls, and sinks that do as they are told."""
import base64
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import socket
import subprocess
import threading

from fake_api import FakeApi
from lull_client import wait_for


class Sink:
    """Takes events and remembers them. `answer` makes (status, headers, body) of one; None hangs."""

    def __init__(self, answer=None, port=0, tls=None):
        self.events, self.lock, self.answer = [], threading.Lock(), answer or (lambda event: (204, {}, b""))
        self.running = self.most = 0
        self.connections = set()
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                with sink.lock:
                    sink.connections.add(self.connection)

            def finish(self):
                with sink.lock:
                    sink.connections.discard(self.connection)
                super().finish()

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                event = {k.lower(): v for k, v in self.headers.items()}
                event.update(path=self.path, body=body)
                with sink.lock:
                    sink.events.append(event)
                    sink.running += 1
                    sink.most = max(sink.most, sink.running)
                try:
                    got = sink.answer(event)
                finally:
                    with sink.lock:
                        sink.running -= 1
                if got is None:
                    self.close_connection = True
                    return
                status, headers, body = got
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # the other side is killed on purpose

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        if tls is not None:  # an ssl.SSLContext of a server
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
            self.url = f"https://localhost:{self.port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def ids(self):
        with self.lock:
            return [e.get("ce-id") for e in self.events]

    def close(self):
        """Its connections end too, as those of a process that is killed."""
        self.server.shutdown()
        self.server.server_close()
        with self.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class Redis:
    """A redis-server of the test's own on a unix socket, which can be killed and started again."""

    def __init__(self, home, fsync="always"):
        self.dir, self.path, self.fsync, self.process = home / "redis", home / "redis.sock", fsync, None
        self.dir.mkdir(exist_ok=True)
        self.start()

    def start(self, *more):
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(self.path), "--dir", str(self.dir), "--appendonly", "yes",
             "--appendfsync", self.fsync, "--save", "", "--logfile", str(self.dir / "log"), *more],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.ask("PING") == "PONG" or self._ended(), 60, "redis answers")

    @property
    def address(self):
        return f"unix:{self.path}"

    def _ended(self):
        assert self.process.poll() is None, "redis ended: " + (self.dir / "log").read_text()[-2000:]

    def ask(self, *words):
        got = subprocess.run(["redis-cli", "-s", str(self.path), *map(str, words)], capture_output=True, text=True, check=False)
        return got.stdout.strip()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.kill()


class World:
    def __init__(self, home, binary, fsync="always", redis=None):
        """redis: one with address and close(), instead of a Redis."""
        self.home, self.binary, self.api, self.sinks = pathlib.Path(home), str(binary), FakeApi(), []
        self.redis = redis or Redis(self.home, fsync)
        self.processes, self.ports, self.lines = {}, {}, []

    def start(self, *more, name="w1", wait=True):
        """A worker. Its listener is a free port that it keeps over restarts."""
        port = self.ports.get(name)
        if port is None:
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                port = self.ports[name] = s.getsockname()[1]
        process = subprocess.Popen(
            [self.binary, "--kubeconfig", str(self.api.kubeconfig(self.home / "kubeconfig")), "--listen", f"127.0.0.1:{port}",
             "--admin-listen", f"unix:{self.home}/{name}.admin", "--redis", self.redis.address, "--name", name,
             "--worker-silence", "5s", *more], stderr=subprocess.PIPE, text=True, env={**os.environ, "NOTIFY_SOCKET": ""})
        self.processes[name] = process
        threading.Thread(target=self._read, args=(process.stderr,), daemon=True).start()
        if wait:
            wait_for(lambda: self.get("/readyz", name, check=False) == "ok\n" or self._ended(process), 60, "the broker is ready")
        return self

    def _ended(self, process):
        assert process.poll() is None, "the broker ended: " + "".join(self.lines)[-2000:]

    def _read(self, pipe):
        for line in pipe:
            self.lines.append(line)

    def said(self, text):
        return next((line for line in list(self.lines) if text in line), None)

    def kill(self, name="w1"):
        self.processes[name].kill()
        self.processes.pop(name).wait()

    def get(self, path, name="w1", check=True):
        got = subprocess.run(["curl", "-sS", "--max-time", "5", "--unix-socket", self.home / f"{name}.admin",
                              f"http://admin{path}"], capture_output=True, text=True, check=check)
        return got.stdout

    def dead(self, whose, name="w1"):
        """The dead of "source=KIND/NAME" or "trigger=NAME"."""
        return json.loads(self.get(f"/events/dead?namespace=default&{whose}", name))["items"]

    def put(self, path, name="w1"):
        """→ the answer, an object; or the words that refuse"""
        got = subprocess.run(["curl", "-sS", "--max-time", "10", "-X", "PUT", "--unix-socket", self.home / f"{name}.admin",
                              f"http://admin{path}"], capture_output=True, text=True, check=True).stdout
        return json.loads(got) if got.startswith("{") else got

    def metric(self, metric, name="w1"):
        for line in self.get("/metrics", name).splitlines():
            if line.startswith(f"lull_broker_{metric} "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {metric}")

    def state(self, name="w1"):
        return json.loads(self.get("/state", name))

    def trigger_state(self, trigger="t", name="w1"):
        return next((t for b in self.state(name)["brokers"] for t in b["triggers"] if t["name"] == trigger), None)

    def sink(self, answer=None, **more):
        self.sinks.append(Sink(answer, **more))
        return self.sinks[-1]

    def broker(self, name="default", **spec):
        self.api.put("brokers", {"metadata": {"name": name}, "spec": spec, "status": {}})

    def trigger(self, name="t", sink=None, broker="default", annotations=None, dead=None, **spec):
        """sink: a Sink or a URL. delivery=…, filter=…, filters=… as the API has them."""
        status = {"subscriberUri": getattr(sink, "url", sink)}
        if dead is not None:
            status["deadLetterSinkUri"] = dead.url
        self.api.put("triggers", {"metadata": {"name": name, "annotations": annotations or {}},
                                  "spec": {"broker": broker, **spec}, "status": status})

    def secret(self, name, **values):
        self.api.put("secrets", {"metadata": {"name": name},
                                 "data": {k: base64.b64encode(v.encode()).decode() for k, v in values.items()}})

    def source(self, plural, name, sink, dead=None, **spec):
        """A source of ours as the controller leaves it, once the worker runs it."""
        status = {"sinkUri": getattr(sink, "url", sink)}
        if dead is not None:
            status["deadLetterSinkUri"] = dead.url
        self.api.put(plural, {"metadata": {"name": name}, "spec": spec, "status": status})
        wait_for(lambda: (self.source_state(name) or {"trouble": "?"})["trouble"] == "", 60, f"{name} runs")

    def source_state(self, source, name="w1"):
        return next((s for s in self.state(name)["sources"] if s["name"] == source), None)

    def known(self, *triggers, broker="default", name="w1"):
        """Waits until a worker has the broker and these triggers, ready."""
        def all_there():
            if not any(b["name"] == broker and b["known"] for b in self.state(name)["brokers"]):
                return False
            return all((self.trigger_state(t, name) or {}).get("ready") for t in triggers)
        wait_for(all_there, 60, f"{broker} and {triggers} are known")
        return self

    def send(self, ident, type="t", broker="default", body=b'{"n":1}', name="w1", connection=None, **more):
        """One event in binary mode. → the status; 0 when there was no answer"""
        headers = {"ce-specversion": "1.0", "ce-id": str(ident), "ce-source": "/test", "ce-type": type,
                   "content-type": "application/json", **{f"ce-{k}": str(v) for k, v in more.items()}}
        return self.post(f"/default/{broker}", headers, body, name, connection)[0]

    def post(self, path, headers, body=b"", name="w1", connection=None, method="POST"):
        """→ (status, headers, body); status 0 when there was no answer"""
        c = connection or http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=20)
        try:
            c.request(method, path, body, headers)
            got = c.getresponse()
            return got.status, {k.lower(): v for k, v in got.getheaders()}, got.read()
        except (OSError, http.client.HTTPException):
            c.close()
            return 0, {}, b""
        finally:
            if connection is None:
                c.close()

    def close(self):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
            assert process.returncode == 0, (process.returncode, "".join(self.lines)[-4000:])
        self.redis.close()
        self.api.close()
        for sink in self.sinks:
            sink.close()
