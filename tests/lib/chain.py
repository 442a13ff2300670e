# SPDX-License-Identifier: Apache-2.0
"""The real activator in front of the real queue-proxy in front of a function of the test's: both proxies, nothing else."""
import json
import os
import pathlib
import re
import subprocess

import fake_api
from lull_client import wait_for

HOST = "f.example.com"


def kib(pid, file, field):
    return int(re.search(rf"^{field}:\s+(\d+)", pathlib.Path(f"/proc/{pid}/{file}").read_text(), re.M)[1])


def copy_of(name, host, certificate):
    """A certificate for the activator, as the controller would make it; host "": listed."""
    return {"metadata": {"name": name, "namespace": "lull-system",
                         "labels": {"lull.dev/certificate": "domain" if host else "listed"},
                         "annotations": {"lull.dev/certificate-host": host} if host else {}},
            "data": certificate.data()}


class Chain:
    """queue: where the queue-proxy listens, a unix socket or IP:PORT. With held=True the activator knows of no replica
    until `release`. certificate: the activator speaks TLS at tls_port, and shows it to who asks for HOST."""

    def __init__(self, binary, home, function_port, concurrency=0, held=False, options=(), env=None,
                 certificate=None):
        self.home, self.queue = home, f"unix:{home}/q"
        self.procs, self.logs = [], []
        self.api = fake_api.FakeApi()
        self.api.put("revisions", fake_api.revision("f-1", concurrency))
        self.api.put("routes", fake_api.route("f", {"f-1": 100}, host=HOST))
        if certificate:
            self.api.put("secrets", copy_of("d." + HOST, HOST, certificate))
            options = ("--tls-listen", "127.0.0.1:0", *options)
        self.proxy = self.start("queue-proxy", [binary("lull-queue-proxy")], {
            "LULL_QUEUE_LISTEN": self.queue, "LULL_ADMIN_LISTEN": f"unix:{home}/qa", "USER_PORT": str(function_port),
            "CONTAINER_CONCURRENCY": str(concurrency), "PATH": os.environ["PATH"], **(env or {})})
        kubeconfig = self.api.kubeconfig(home / "kubeconfig")
        self.activator = self.start("activator", [
            binary("lull-activator"), "--kubeconfig", kubeconfig, "--public-listen", "127.0.0.1:0", "--local-listen",
            "127.0.0.1:0", "--admin-listen", f"unix:{home}/aa", "--pod-address", "unix", *options], dict(os.environ))
        ready = wait_for(lambda: re.search(r'"public_port":(\d+)', self.log("activator")), 30, "the activator is ready")
        self.port = int(ready[1])
        self.tls_port = int(re.search(r'"tls_port":(\d+)', self.log("activator"))[1])
        if not held:
            self.release()
            wait_for(lambda: self.state()["revisions"], 30, "the activator knows the replica")

    def start(self, name, command, env):
        with open(self.home / f"{name}.log", "wb") as log:
            process = subprocess.Popen([str(c) for c in command], env=env, stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log)
        self.procs.append(process)
        return process

    def log(self, name):
        return (self.home / f"{name}.log").read_text(errors="replace")

    def release(self):
        self.api.put("pods", fake_api.pod("p", "f-1", self.queue))

    def state(self):
        got = subprocess.run(["curl", "-fsS", "--unix-socket", self.home / "aa", "http://a/debug/state"],
                             capture_output=True, check=True)
        return json.loads(got.stdout)

    def forget_peaks(self):
        """From now on peaks() counts anew."""
        self.before = [kib(p.pid, "status", "VmRSS") for p in self.procs]
        for p in self.procs:
            pathlib.Path(f"/proc/{p.pid}/clear_refs").write_text("5")

    def peaks(self):
        """By how many KiB each was at most larger than at forget_peaks: the kernel's own count, no sample."""
        return [kib(p.pid, "status", "VmHWM") - b for p, b in zip(self.procs, self.before)]

    def pss(self):
        return [kib(p.pid, "smaps_rollup", "Pss") for p in self.procs]

    def close(self):
        gone = [p.args[0] for p in self.procs if p.poll() is not None]
        for p in self.procs:
            p.kill()
            p.wait()
        self.api.close()
        text = self.log("activator") + self.log("queue-proxy")
        assert not gone, f"ended by itself: {gone}\n{text[-4000:]}"
        assert "Sanitizer" not in text and "runtime error" not in text, text[-8000:]
