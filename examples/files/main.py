# SPDX-License-Identifier: Apache-2.0
"""Gets every file that is dropped in a folder: small ones as they are, large ones by their place."""
import http.server
import os
import urllib.parse
import urllib.request


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = urllib.parse.unquote(self.headers["ce-subject"])
        if "ce-dataref" in self.headers:
            print(name, "is at", urllib.parse.unquote(self.headers["ce-dataref"]), flush=True)
        else:
            print(name, "has", len(body), "bytes", flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
