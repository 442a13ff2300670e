# SPDX-License-Identifier: Apache-2.0
"""A plain HTTP door to an API server that kills its client after the n-th write that the server has taken, and drops the
answer: as if the client had died at that moment."""
import http.client
import http.server
import threading
import urllib.parse

import kubeconfig

WRITES = ("POST", "PUT", "PATCH", "DELETE")
HOP = ("connection", "transfer-encoding", "content-length", "keep-alive", "host")


class KillingProxy(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api):
        super().__init__(("127.0.0.1", 0), Handler)
        self.api, self.lock = api, threading.Lock()
        self.kill, self.writes, self.at, self.dead = None, 0, 0, False
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def arm(self, at, kill):
        """`kill` is called with the at-th write from now (0: never)."""
        with self.lock:
            self.writes, self.at, self.kill, self.dead = 0, at, kill, False

    def kubeconfig(self, path):
        return kubeconfig.write(path, f"http://127.0.0.1:{self.server_port}", self.api.token)

    def handle_error(self, request, client_address):
        pass  # its client was killed


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def _upstream(self, body):
        at = urllib.parse.urlsplit(self.server.api.server)
        conn = http.client.HTTPSConnection(at.hostname, at.port, timeout=60, context=self.server.api.context)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
        conn.request(self.command, self.path, body, headers)
        return conn, conn.getresponse()

    def _answer(self, got, chunks):
        self.send_response(got.status)
        for key, value in got.getheaders():
            if key.lower() not in HOP:
                self.send_header(key, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def _read(self):
        conn, got = self._upstream(None)
        try:
            self._answer(got, iter(lambda: got.read1(65536), b""))
        finally:
            conn.close()

    def _write(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server
        with server.lock:  # one after the other: the n-th is the last
            if server.dead:
                self.close_connection = True
                return
            conn, got = self._upstream(body)
            data = got.read()
            conn.close()
            if got.status < 300 and "/events" not in self.path:
                server.writes += 1
                if server.writes == server.at:
                    server.dead = True
                    server.kill()
                    self.close_connection = True
                    return
        self._answer(got, [data] if data else [])

    do_GET = _read
    do_POST = do_PUT = do_PATCH = do_DELETE = _write
