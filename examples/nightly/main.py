# SPDX-License-Identifier: Apache-2.0
"""What is to be done every night: each POST is an event of a PingSource, which says when its time was."""
import http.server
import os


class Report(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        what = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        print(f"report {what} for {self.headers['ce-time']}", flush=True)
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Report).serve_forever()
