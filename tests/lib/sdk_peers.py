# SPDX-License-Identifier: Apache-2.0
"""Programs that use the CloudEvents SDKs of Python, Node and Go (tests/clients/cloudevents): each sends what it is told
and tells of what it receives. Their packages are pinned, fetched once and kept in ~/.cache/lull-clients.

One line of JSON each way. To a program: {"url", "mode": "binary" | "structured" | "batch", "events": [event, …]}, and it
answers {"sent": STATUS} or {"sent": 0, "why"}. First of all it says {"port": N}; of each event that reaches that port
{"path", event…} as the SDK gives it, or {"path", "why"}. An event is {"attributes": {…}} and at most one of "json",
"text" and "bytes" (base64). It answers an event that has the extension "ask" with one of its own, of type "reply", in
the mode that the extension names; any other with 202."""
import json
import queue
import re
import shutil
import subprocess
import threading

import go_program
import pytest
from conftest import ROOT
from lull_client import wait_for

FOLDER = ROOT / "tests/clients/cloudevents"
LANGUAGES = ("python", "node", "go")


def _fetch(command, cwd):
    got = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, timeout=900, check=False,
                         stdin=subprocess.DEVNULL)
    if got.returncode:
        pytest.skip(f"packages of the SDK cannot be had: {command[0]}: {(got.stderr or got.stdout).strip()[-300:]}")


def python():
    listed = FOLDER / "python/requirements.txt"

    def build(made):
        _fetch(["/usr/bin/python3", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--require-hashes",
                "--only-binary", ":all:", "--target", made, "-r", listed], FOLDER)

    return ["env", f"PYTHONPATH={go_program.once('cloudevents-python', listed.read_bytes(), build)}", "PYTHONDONTWRITEBYTECODE=1",
            "/usr/bin/python3", FOLDER / "python/peer.py"]


def node():
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(re.match(r"v(\d+)", version)[1]) < 20:
        pytest.skip(f"the SDK needs Node 20 or newer; found {version}")
    files = [FOLDER / "node" / name for name in ("package.json", "package-lock.json")]

    def build(made):
        made.mkdir()
        for file in files:
            shutil.copy(file, made)
        _fetch(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], made)

    made = go_program.once("cloudevents-node", b"".join(f.read_bytes() for f in files), build)
    return ["env", f"NODE_PATH={made}/node_modules", "node", FOLDER / "node/peer.js"]


def go():
    return [go_program.from_folder("cloudevents-go", FOLDER / "go", [1, 23])]


class Peer:
    def __init__(self, name):
        self.name, self.told, self.sent, self.port = name, [], queue.Queue(), None
        command = [str(c) for c in {"python": python, "node": node, "go": go}[name]()]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()
        wait_for(lambda: self.port is not None, 60, f"the program with the SDK of {name} listens")
        self.url = f"http://127.0.0.1:{self.port}"

    def _read(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if "sent" in said:
                self.sent.put(said)
            elif "port" in said:
                self.port = said["port"]
            else:
                self.told.append(said)

    def send(self, url, mode, *events):
        """→ {"sent": status} or {"sent": 0, "why": …}"""
        self.process.stdin.write(json.dumps({"url": url, "mode": mode, "events": events}) + "\n")
        self.process.stdin.flush()
        return self.sent.get(timeout=90)

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


