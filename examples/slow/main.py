# SPDX-License-Identifier: Apache-2.0
"""Takes its time: GET /?ms=500 answers after half a second (default 1000, at most a minute)."""
import http.server
import os
import time
import urllib.parse


class Slow(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        try:
            ms = min(max(int(query.get("ms", ["1000"])[0]), 0), 60000)
        except ValueError:
            self.send_error(400, "ms must be a number of milliseconds")
            return
        time.sleep(ms / 1000)
        body = f"That took {ms} ms.\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        print(format % args, flush=True)


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Slow).serve_forever()
