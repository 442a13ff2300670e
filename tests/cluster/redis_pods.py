# SPDX-License-Identifier: Apache-2.0
"""A Redis of one's own beside Lull on the cluster: Pods of redis-server with TLS that ask for a client's certificate, an ACL
user for Lull, a replica and a Sentinel. Only where Service addresses lead somewhere."""

import base64
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

from certs import Certificate  # noqa: E402
from cluster import KUBECTL, REDIS_IMAGE, apply, get, kubectl, run, wait_for  # noqa: E402

ADMIN = "admin-word"
SECRET = "events-redis"
TLS = ["--tls-cert-file", "/tls/tls.crt", "--tls-key-file", "/tls/tls.key", "--tls-ca-cert-file", "/tls/ca.crt", "--tls-replication", "yes"]
USER = ["~lull:*", "+@read", "+@write", "+@connection", "+@scripting", "+time", "+info"]  # as docs/kubernetes.md has it


class RedisPods:
    """Master a and replica b with user lull; `sentinel` looks after them under the name "main"."""

    def __init__(self, namespace):
        self.namespace = namespace
        self.certificate = Certificate(f"*.{namespace}.svc.cluster.local")
        # A Sentinel writes into its file; what a pod may write to outlives nothing else here.
        state = pathlib.Path(KUBECTL[KUBECTL.index("--kubeconfig") + 1]).parents[1]
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=state / "data", prefix="sentinel-"))
        self.folder.chmod(0o777)
        for name, text in (("cert", self.certificate.cert), ("key", self.certificate.key)):
            (self.folder / name).write_text(text)
        kubectl("create", "namespace", namespace)
        secret = self.certificate.secret("tls")
        secret["data"]["ca.crt"] = secret["data"]["tls.crt"]
        apply({**secret, "metadata": {"name": "tls", "namespace": namespace}})
        for name, port in (("a", 6379), ("b", 6379), ("sentinel", 26379)):
            apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
                   "spec": {"selector": {"app": name}, "ports": [{"port": port}]}})
        self.pod("a", [*self.options("a"), "--user", "lull", "on", ">one", *USER])
        self.answers("a")
        self.pod("b", [*self.options("b"), "--replicaof", self.host("a"), "6379"])
        self.pod("sentinel", ["/conf/sentinel.conf", "--sentinel"], self.sentinel_conf())

    def host(self, name):
        return f"{name}.{self.namespace}.svc.cluster.local"

    def options(self, name):
        return ["--port", "0", "--tls-port", "6379", *TLS, "--dir", "/data", "--save", "", "--appendonly", "yes", "--appendfsync", "always",
                "--maxmemory-policy", "noeviction", "--requirepass", ADMIN, "--masterauth", ADMIN, "--repl-diskless-sync-delay", "0",
                "--replica-announce-ip", self.host(name), "--replica-announce-port", "6379"]

    def sentinel_conf(self):
        lines = ["port 0", "tls-port 26379", "dir /conf", "requirepass sentinel-word", "sentinel resolve-hostnames yes",
                 "sentinel announce-hostnames yes", f"sentinel monitor main {self.host('a')} 6379 1", f"sentinel auth-pass main {ADMIN}",
                 "sentinel down-after-milliseconds main 2000", "sentinel failover-timeout main 5000",
                 *(" ".join(pair).removeprefix("--") for pair in zip(TLS[::2], TLS[1::2]))]
        return "\n".join(lines) + "\n"

    def pod(self, name, args, conf=None):
        mounts = [{"name": "tls", "mountPath": "/tls", "readOnly": True}, {"name": "data", "mountPath": "/data"}]
        volumes = [{"name": "tls", "secret": {"secretName": "tls"}}, {"name": "data", "emptyDir": {}}]
        if conf:
            (self.folder / "sentinel.conf").write_text(conf)
            (self.folder / "sentinel.conf").chmod(0o666)
            mounts.append({"name": "conf", "mountPath": "/conf"})
            volumes.append({"name": "conf", "hostPath": {"path": str(self.folder), "type": "Directory"}})
        apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": self.namespace, "labels": {"app": name}},
               "spec": {"terminationGracePeriodSeconds": 0, "volumes": volumes, "containers": [
                   {"name": "redis", "image": REDIS_IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["redis-server"], "args": args,
                    "volumeMounts": mounts}]}})

    def ask(self, name, *words, password=ADMIN, port=6379):
        address = get("-n", self.namespace, "service", name)["spec"]["clusterIP"]
        done = subprocess.run(["redis-cli", "-h", address, "-p", str(port), "--tls", "--cacert", self.folder / "cert", "--cert", self.folder / "cert",
                               "--key", self.folder / "key", "-a", password, "--no-auth-warning", *words],
                              capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.strip()

    def answers(self, name):
        wait_for(f"Redis {name} answers", lambda: self.ask(name, "PING") == "PONG", 60, every=0.3)

    def watched(self):
        """The replica has all, and the Sentinel knows both."""
        wait_for("the replica has all", lambda: "master_link_status:up" in self.ask("b", "INFO", "replication"), 60, every=0.3)
        wait_for("the Sentinel knows the replica", lambda: self.host("b") in self.ask(
            "sentinel", "SENTINEL", "REPLICAS", "main", password="sentinel-word", port=26379), 60, every=0.3)

    def set_password(self, *names, password):
        """Nobody stays logged in with the old one."""
        for name in names:
            assert self.ask(name, "ACL", "SETUSER", "lull", "on", "resetpass", ">" + password, *USER) == "OK"
            self.ask(name, "CLIENT", "KILL", "USER", "lull")

    def write_secret(self, url, **more):
        """What lull-broker has of it, and at once: a kubelet looks again when a Pod changes, else once a minute."""
        words = {"url": url, "ca.crt": self.certificate.cert, "tls.crt": self.certificate.cert, "tls.key": self.certificate.key, **more}
        data = {key: base64.b64encode(text.encode()).decode() for key, text in words.items()}
        apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": "lull-system"}, "data": data})
        version = get("-n", "lull-system", "secret", SECRET)["metadata"]["resourceVersion"]
        run(*KUBECTL, "-n", "lull-system", "annotate", "--overwrite", "pods", "-l", "app=lull-broker", f"example.com/secret={version}", check=False)

    def close(self):
        kubectl("delete", "namespace", self.namespace, "--wait=false")
