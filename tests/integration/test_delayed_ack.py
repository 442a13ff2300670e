# SPDX-License-Identifier: Apache-2.0
"""A function that writes head and body apart, without TCP_NODELAY, as Python's http.server does: its warm answers
must not wait for a delayed acknowledgement (40 ms)."""
import http.server
import statistics
import threading
import time

import pytest
from test_queue_proxy import GET, start  # noqa: F401


class Apart(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"12345")
        self.wfile.write(b"67890")

    def log_message(self, *args):
        pass


@pytest.mark.quick
def test_head_and_body_apart(start):  # noqa: F811
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Apart) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = start(port=server.server_address[1])
        assert proxy.notice() == "READY=1"
        took = []
        with proxy.client() as c:
            for _ in range(60):
                begun = time.monotonic()
                assert c.ask(GET).body == b"1234567890"
                took.append(time.monotonic() - begun)
        server.shutdown()
    assert statistics.median(took) < 0.02, took
