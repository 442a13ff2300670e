# SPDX-License-Identifier: Apache-2.0
"""An API server that holds what a test gives it and misbehaves on demand. Lists, watches, and merge
patches of scale and status: the real one is local/; this one is for faults that the real one does not make by itself."""
import http.server
import json
import queue
import sys
import threading
import time
import urllib.parse
import uuid

import kubeconfig


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256  # a burst of connections must not wait for a second SYN

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients are killed on purpose
            super().handle_error(request, client_address)


class FakeApi:
    """`put` and `delete` objects; every watch hears of it. `cut` ends all watches, `down`/`back` is an outage;
    what `withhold` keeps back reaches one watch after the other, by `release`."""

    def __init__(self):
        self.lock = threading.Lock()
        self.version = 1
        self.objects = {}  # (plural, namespace, name) -> object
        self.history = []  # (version, plural, event)
        self.watches = []  # (plural, queue)
        self.withheld = {}  # queue -> its events, while they are kept back
        self.refusing = False
        self.patches = []  # (time, path, body), in the order of arrival
        self.after_scale = None  # called with the Deployment: plays the Deployment controller
        self.on_patch = None  # called with path and body before anything is done; may block; status or None
        self.server = Server(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def kubeconfig(self, path):
        return kubeconfig.write(path, f"http://127.0.0.1:{self.port}")

    def _emit(self, kind, plural, obj):
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        event = {"type": kind, "object": json.loads(json.dumps(obj))}
        self.history.append((self.version, plural, event))
        for watched, q in self.watches:
            if watched == plural:
                self.withheld.get(q, q).put(event)

    def withhold(self, plural):
        """Watches of it hear nothing more until they are released. → the watches, to be given to `release`"""
        with self.lock:
            watches = [q for watched, q in self.watches if watched == plural]
            self.withheld.update((q, queue.Queue()) for q in watches)
        return watches

    def release(self, watch):
        with self.lock:
            kept = self.withheld.pop(watch)
            while not kept.empty():
                watch.put(kept.get())

    def put(self, plural, obj):
        meta = obj["metadata"]
        meta.setdefault("namespace", "default")
        key = (plural, meta["namespace"], meta["name"])
        meta.setdefault("uid", str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(key))))
        with self.lock:
            known = key in self.objects
            self.objects[key] = obj
            self._emit("MODIFIED" if known else "ADDED", plural, obj)

    def delete(self, plural, name, namespace="default"):
        with self.lock:
            self._emit("DELETED", plural, self.objects.pop((plural, namespace, name)))

    def merge(self, plural, namespace, name, sub, body):
        """Apply a merge patch of the sub-resource; None when there is no such object."""
        with self.lock:
            obj = self.objects.get((plural, namespace, name))
            if obj is None:
                return None
            if sub == "scale":
                obj["spec"]["replicas"] = body["spec"]["replicas"]
            else:
                obj.setdefault("status", {}).update(body["status"])
            self._emit("MODIFIED", plural, obj)
            got = json.loads(json.dumps(obj))
        if sub == "scale" and self.after_scale:
            self.after_scale(got)
        return got

    def write_lease(self, namespace, name, body):
        """Creates (no name in the path), or patches the version that the body says. → (status, object)"""
        with self.lock:
            key = ("leases", namespace, name or body["metadata"]["name"])
            obj = self.objects.get(key)
            if name is None and obj is None:
                obj = self.objects[key] = {"metadata": {"name": key[2], "namespace": namespace}, "spec": {}}
            elif name is None or obj is None or body["metadata"].get("resourceVersion") != obj["metadata"]["resourceVersion"]:
                return (404 if obj is None else 409), None
            obj["spec"].update(body["spec"])
            self._emit("MODIFIED" if name else "ADDED", "leases", obj)
            return (200 if name else 201), json.loads(json.dumps(obj))

    def cut(self):
        with self.lock:
            for _, q in self.watches:
                q.put(None)

    def down(self):
        self.refusing = True
        self.cut()

    def back(self):
        self.refusing = False

    def close(self):
        self.cut()
        self.server.shutdown()
        self.server.server_close()

    def _handler(api):  # noqa: N805 the inner class has its own self
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                if api.refusing:
                    self.send_error(503)
                    return
                url = urllib.parse.urlsplit(self.path)
                query = urllib.parse.parse_qs(url.query)
                plural = url.path.rsplit("/", 1)[1]
                if url.path.split("/")[-2] == "secrets":
                    with api.lock:
                        got = api.objects.get(("secrets", url.path.split("/")[-3], plural))
                    self.answer(200 if got else 404, got or {"kind": "Status", "code": 404, "reason": "NotFound"})
                elif query.get("watch", ["0"])[0] in ("1", "true"):
                    self.watch(plural, int(query.get("resourceVersion", ["0"])[0]))
                else:
                    self.list(plural)

            def do_PATCH(self):
                path = urllib.parse.urlsplit(self.path).path
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if path.split("/")[-2] == "leases":
                    self.lease(path.split("/")[-3], path.split("/")[-1], body)
                    return
                api.patches.append((time.monotonic(), path, body))
                status = 503 if api.refusing else api.on_patch(path, body) if api.on_patch else None
                namespace, plural, name, sub = path.split("/")[-4:]
                got = None if status else api.merge(plural, namespace, name, sub, body)
                if got is None:
                    status = status or 404
                    got = {"kind": "Status", "status": "Failure", "code": status, "message": f"{name}: refused",
                           "reason": {404: "NotFound", 403: "Forbidden"}.get(status, "InternalError")}
                self.answer(status or 200, got)

            def do_POST(self):
                parts = urllib.parse.urlsplit(self.path).path.split("/")
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if parts[-1] == "leases":
                    self.lease(parts[-2], None, body)
                else:
                    self.send_error(405)

            def lease(self, namespace, name, body):
                status, got = (503, None) if api.refusing else api.write_lease(namespace, name, body)
                reason = {404: "NotFound", 409: "Conflict" if name else "AlreadyExists"}.get(status, "ServiceUnavailable")
                self.answer(status, got or {"kind": "Status", "status": "Failure", "code": status, "reason": reason,
                                            "message": reason})

            def answer(self, status, got):
                answer = json.dumps(got).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def list(self, plural):
                with api.lock:
                    items = [o for (p, _, _), o in api.objects.items() if p == plural]
                    body = json.dumps({"kind": "List", "apiVersion": "v1", "items": items,
                                       "metadata": {"resourceVersion": str(api.version)}}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def watch(self, plural, since):
                q = queue.Queue()
                with api.lock:
                    for version, p, event in api.history:
                        if p == plural and version > since:
                            q.put(event)
                    api.watches.append((plural, q))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    while (event := q.get()) is not None:
                        line = json.dumps(event).encode() + b"\n"
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                        self.wfile.flush()
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    pass
                with api.lock:
                    api.watches = [w for w in api.watches if w[1] is not q]

        return Handler


def route(name, revisions, host=None, local=False, tags=None):
    """revisions: {revision: percent}; tags: {tag: revision}."""
    labels = {"networking.knative.dev/visibility": "cluster-local"} if local else {}
    traffic = [{"revisionName": r, "percent": p} for r, p in revisions.items()]
    traffic += [{"revisionName": r, "tag": t, "percent": 0, "url": f"http://{t}-{name}.default.localhost"}
                for t, r in (tags or {}).items()]
    return {"metadata": {"name": name, "labels": labels},
            "status": {"url": f"http://{host or name + '.default.localhost'}", "traffic": traffic}}


def revision(name, concurrency=0, timeout=300, failed=None, message=None):
    ready = {"type": "Ready", "status": "True"}
    if failed:
        ready = {"type": "Ready", "status": "False", "reason": failed, "message": message or ""}
    return {"metadata": {"name": name},
            "spec": {"containerConcurrency": concurrency, "timeoutSeconds": timeout},
            "status": {"conditions": [ready]}}


def pod(name, rev, address=None, ready=True, unschedulable=None, phase="Running"):
    """A Pod of one machine; address: what --pod-address unix reads."""
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    if unschedulable:
        conditions.append({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                           "message": unschedulable})
    meta = {"name": name, "labels": {"serving.knative.dev/revision": rev}}
    if address:
        meta["annotations"] = {"lull.dev/queue-address": address}
    return {"metadata": meta, "status": {"phase": phase, "conditions": conditions}}
