# SPDX-License-Identifier: Apache-2.0
"""A clock as server-sent events: GET /?n=5&ms=200 sends five events, 200 ms apart."""
import http.server
import os
import time
import urllib.parse


class Clock(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        try:
            count = min(max(int(query.get("n", ["5"])[0]), 1), 100000)
            pause = min(max(int(query.get("ms", ["200"])[0]), 0), 60000) / 1000
        except ValueError:
            self.send_error(400, "n and ms must be numbers")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range(count):
            event = f"id: {i}\ndata: {time.time():.3f}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            time.sleep(pause if i + 1 < count else 0)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format, *args):
        print(format % args, flush=True)


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Clock).serve_forever()
