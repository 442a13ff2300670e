# SPDX-License-Identifier: Apache-2.0
"""Mail that cannot be sent, and what becomes of it. Two functions of one program, which STEP chooses between.

mail  sends what an event asks for; while BROKEN it refuses with 422, which is not tried again
file  the dead letter sink: writes down which event failed, where and how"""
import base64
import http.server
import json
import os

STEP = os.environ.get("STEP", "mail")
BROKEN = os.environ.get("BROKEN", "false") == "true"


class Step(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        mail = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if STEP == "file":
            said = base64.b64decode(self.headers.get("ce-knativeerrordata", "")).decode()
            print(f"{self.headers['ce-type']} to {mail['to']} failed at {self.headers['ce-knativeerrordest']}: "
                  f"{self.headers.get('ce-knativeerrorcode', 'no answer')} {said}", flush=True)
            self.answer(202, b"")
        elif BROKEN:
            self.answer(422, b"the mail server is unknown")
        else:
            print(f"{self.headers['ce-type']} to {mail['to']} is sent", flush=True)
            self.answer(202, b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Step).serve_forever()
