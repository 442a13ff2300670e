# SPDX-License-Identifier: Apache-2.0
"""Real redis-servers of a test's own on TCP: with TLS, replicas, Sentinel, cluster mode."""
import os
import resource
import signal
import socket
import subprocess

from lull_client import wait_for


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """One redis-server. `more` are options as its command line has them; `tls`: (ca, certificate, key) files."""

    def __init__(self, folder, *more, tls=None, port=0, sentinel=False, appendonly="yes"):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.more, self.tls, self.sentinel = folder, more, tls, sentinel
        self.port, self.appendonly, self.process, self.user = port or free_port(), appendonly, None, ()
        self.start()

    def start(self, *more, wait=True):
        conf = self.folder / "redis.conf"
        conf.touch()
        command = ["redis-server", str(conf), *(["--sentinel"] if self.sentinel else []), "--bind", "127.0.0.1", "-::1", "--dir", str(self.folder),
                   "--logfile", str(self.folder / "log")]
        if not self.sentinel:
            command += ["--save", "", "--appendonly", self.appendonly]
        if self.tls:
            ca, certificate, key = self.tls
            command += ["--port", "0", "--tls-port", str(self.port), "--tls-ca-cert-file", str(ca), "--tls-cert-file", str(certificate),
                        "--tls-key-file", str(key)]
        else:
            command += ["--port", str(self.port)]
        # A write beyond RLIMIT_FSIZE is then an error, as on a full disk, and no signal.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.process = subprocess.Popen([*command, *self.more, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        restore_signals=False)
        if wait:
            wait_for(self._answers, 60, "redis answers")
        return self

    def _answers(self):
        assert self.process.poll() is None, "redis ended: " + (self.folder / "log").read_text()[-2000:]
        said = self.ask("PING")
        return said == "PONG" or said.startswith("NOAUTH")

    def ask(self, *words, db=0):
        tls = []
        if self.tls:
            ca, certificate, key = self.tls
            tls = ["--tls", "--cacert", str(ca), "--cert", str(certificate), "--key", str(key)]
        got = subprocess.run(["redis-cli", "-h", "127.0.0.1", "-p", str(self.port), "-n", str(db), *tls, *self.user, *map(str, words)],
                             capture_output=True, text=True, check=False, timeout=60)
        return got.stdout.strip()

    @property
    def address(self):
        return f"redis{'s' if self.tls else ''}://{'localhost' if self.tls else '127.0.0.1'}:{self.port}"

    def drop_clients(self):
        self.ask("CLIENT", "KILL", "TYPE", "normal")

    def limit_files(self, size):
        """No file of it may be larger: as a disk that is full. None: it has room again."""
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY if size is None else size, resource.RLIM_INFINITY))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)
            self.kill()
