# SPDX-License-Identifier: Apache-2.0
"""One of several leads, by a Lease of a real API server. The parts run beside the cluster, on Leases of their own."""

import os
import pathlib
import signal
import subprocess
import time

import pytest

from cluster import KUBECTL, ROOT, get, wait_for

BUILD = pathlib.Path(os.environ.get("LULL_BIN", ROOT / "build/cli/lull")).parent.parent
pytestmark = pytest.mark.skipif("LULL_CLUSTER_INSIDE" not in os.environ, reason="only on a cluster of our own")
DURATION = 3


class Part:
    def __init__(self, name, namespace, folder, number):
        config = KUBECTL[KUBECTL.index("--kubeconfig") + 1]
        self.socket = folder / f"{name}{number}.sock"
        more = ["--link-listen", f"unix:{folder}/link{number}.sock"] if name == "autoscaler" else []
        self.log = open(folder / f"{name}{number}.log", "w")
        self.process = subprocess.Popen(
            [BUILD / name / f"lull-{name}", "--kubeconfig", config, "--admin-listen", f"unix:{self.socket}",
             "--system-namespace", namespace, "--lease", f"lull-{name}", "--lease-duration", f"{DURATION}s", *more],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        self.name = name

    def leads(self):
        done = subprocess.run(["curl", "-s", "--unix-socket", self.socket, "http://x/metrics"], capture_output=True,
                              text=True, check=False)
        return f"lull_{self.name}_leading 1" in done.stdout.splitlines()

    def end(self, signum):
        self.process.send_signal(signum)
        self.process.wait(timeout=20)


def holder(namespace, name):
    lease = get("-n", namespace, "lease", f"lull-{name}")
    return lease and lease["spec"]["holderIdentity"]


@pytest.mark.parametrize("name", ["controller", "autoscaler"])
def test_one_leads_and_another_takes_over(namespace, tmp_path, installed, name):
    parts = [Part(name, namespace, tmp_path, number) for number in range(2)]
    try:
        def leader():
            leading = [part for part in parts if part.process.poll() is None and part.leads()]
            assert len(leading) < 2, "two lead at once"
            return leading[0] if leading else None

        first = wait_for("one leads", leader, 30)
        assert holder(namespace, name).endswith(f"-{first.process.pid}")
        # Given back at SIGTERM: nobody has to wait until it runs out.
        begin = time.monotonic()
        first.end(signal.SIGTERM)
        second = wait_for("the other one leads", leader, 30)
        print(f"\n{name}: taken over {time.monotonic() - begin:.2f} s after SIGTERM", end="")
        parts.append(Part(name, namespace, tmp_path, 2))
        wait_for("a third one stands by", lambda: parts[2].socket.exists(), 30)
        begin = time.monotonic()
        second.process.kill()
        second.process.wait()
        third = wait_for("the third one leads", leader, 60)
        print(f", {time.monotonic() - begin:.2f} s after SIGKILL")
        assert holder(namespace, name).endswith(f"-{third.process.pid}")
        assert get("-n", namespace, "lease", f"lull-{name}")["spec"]["leaseTransitions"] >= 2
    finally:
        for part in parts:
            if part.process.poll() is None:
                part.end(signal.SIGKILL)
            part.log.close()
