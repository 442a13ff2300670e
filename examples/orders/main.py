# SPDX-License-Identifier: Apache-2.0
"""An order on its way: three functions of one program, which STEP chooses between, and a Broker in the middle.

front  takes an order over HTTP and tells the Broker order.placed
pay    gets order.placed and answers with order.paid, which goes back into the Broker
ship   gets order.paid and ships"""
import http.server
import json
import os
import urllib.request
import uuid

STEP = os.environ.get("STEP", "front")


def event(kind, data):
    """Headers and body of an event in binary mode."""
    headers = {"ce-specversion": "1.0", "ce-id": str(uuid.uuid4()), "ce-source": f"/orders/{STEP}", "ce-type": kind,
               "Content-Type": "application/json"}
    return headers, json.dumps(data).encode()


class Step(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        headers, body, status = {}, b"", 202
        if STEP == "front":
            sent, data = event("order.placed", order)
            urllib.request.urlopen(urllib.request.Request(os.environ["K_SINK"], data, sent), timeout=10).close()
            body = f"order {order['order']} is placed\n".encode()
        elif STEP == "pay":
            headers, body = event("order.paid", {**order, "paid": True})
            status = 200
        else:
            print(f"order {order['order']} is shipped", flush=True)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Step).serve_forever()
