# SPDX-License-Identifier: Apache-2.0
"""Writes down every event that it gets, its attributes and its data, and answers that it has it: 204, no body."""
import http.server
import os


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode(errors="replace")
        attributes = sorted((name.lower()[3:], value) for name, value in self.headers.items() if name.lower().startswith("ce-"))
        print("event", " ".join(f"{name}={value}" for name, value in attributes), body, flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
