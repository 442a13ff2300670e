# SPDX-License-Identifier: Apache-2.0
"""Sends and receives events with the CloudEvents SDK of Python. tests/lib/sdk_peers.py says what it is told and tells."""
import base64
import contextlib
import datetime
import http.client
import http.server
import json
import sys
import threading
import urllib.parse

from cloudevents.core.bindings import http as binding
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

SAYS = threading.Lock()


def say(what):
    with SAYS:
        print(json.dumps(what), flush=True)


def made(spec):
    """An event of the SDK."""
    attributes = dict(spec["attributes"], specversion="1.0")
    if "time" in attributes:
        attributes["time"] = datetime.datetime.fromisoformat(attributes["time"].replace("Z", "+00:00"))
    data = spec.get("json", spec.get("text"))
    return CloudEvent(attributes, base64.b64decode(spec["bytes"]) if "bytes" in spec else data)


def told(event):
    """What the SDK says of an event."""
    attributes = {}
    for name, value in event.get_attributes().items():
        if isinstance(value, datetime.datetime):
            value = value.isoformat()
        attributes[name] = str(value).lower() if isinstance(value, bool) else str(value)
    data = event.get_data()
    if data is None:
        return {"attributes": attributes}
    if isinstance(data, bytes):
        return {"attributes": attributes, "bytes": base64.b64encode(data).decode()}
    return {"attributes": attributes, "text" if isinstance(data, str) else "json": data}


def send(command):
    events = [made(spec) for spec in command["events"]]
    if command["mode"] == "batch":  # the SDK has no batches; each event in it is the SDK's
        headers = {"content-type": "application/cloudevents-batch+json"}
        message = binding.HTTPMessage(headers, b"[" + b",".join(JSONFormat().write(e) for e in events) + b"]")
    elif command["mode"] == "structured":
        message = binding.to_structured_event(events[0])
    else:
        message = binding.to_binary_event(events[0])
    url = urllib.parse.urlsplit(command["url"])
    with contextlib.closing(http.client.HTTPConnection(url.netloc, timeout=60)) as connection:
        connection.request("POST", url.path, message.body, message.headers)
        return connection.getresponse().status


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # This server reads headers as Latin-1; UTF-8 is what events have.
        headers = {k.lower(): v.encode("latin-1").decode() for k, v in self.headers.items()}
        message = binding.HTTPMessage(headers, body)
        event = binding.from_http_event(message)
        say({"path": self.path, **told(event)})
        mode = event.get_attributes().get("ask")
        if mode is None:
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        attributes = {"id": f"python.{event.get_id()}", "source": "/python", "type": "reply", "subject": event.get_id()}
        reply = CloudEvent({**attributes, "specversion": "1.0", "datacontenttype": "application/json"}, {"by": "python"})
        message = (binding.to_structured_event if mode == "structured" else binding.to_binary_event)(reply)
        self.send_response(200)
        for name, value in message.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(message.body)))
        self.end_headers()
        self.wfile.write(message.body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
say({"port": server.server_address[1]})
for line in sys.stdin:
    try:
        say({"sent": send(json.loads(line))})
    except Exception as why:  # whatever it is, the test tells of it
        say({"sent": 0, "why": repr(why)})
