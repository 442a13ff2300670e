#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A function for tests: answers with what it sees. /env, /argv, /stat/PATH, /read/PATH, /write/PATH, /pair/FOLDER."""
import http.server
import json
import os
import sys


def told(path):
    st = os.stat(path)
    return {"mode": st.st_mode & 0o777, "uid": st.st_uid, "names": sorted(os.listdir(path)) if os.path.isdir(path) else None}


def pair(folder):
    """Two files of one version: both through the folder that ..data is now."""
    at = os.open(f"{folder}/..data", os.O_RDONLY)
    try:
        return [os.fdopen(os.open(name, os.O_RDONLY, dir_fd=at)).read() for name in ("a", "b")]
    finally:
        os.close(at)


def write(path):
    with open(path, "w") as f:
        f.write("written")
    return "ok"


def answer(path):
    what, _, rest = path[1:].partition("/")
    rest = "/" + rest
    return {"env": lambda: dict(os.environ), "argv": lambda: sys.argv[1:], "stat": lambda: told(rest),
            "read": lambda: open(rest).read(), "write": lambda: write(rest), "pair": lambda: pair(rest),
            "cwd": os.getcwd}[what]()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            status, body = 200, answer(self.path)
        except OSError as err:
            status, body = 409, f"{type(err).__name__}: {err}"
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
