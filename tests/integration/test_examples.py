# SPDX-License-Identifier: Apache-2.0
"""Every example, run exactly as its README says: the indented commands go to a shell, in order."""
import os
import re
import shutil
import subprocess

import pytest
from conftest import ROOT, binary, wait_for

EXPECT = {
    "hello-python": ["Hello from Python, world!", "GET /"],
    "hello-node": ["Hello from Node, world!", "GET /"],
    "hello-c": ["Hello from C, world!", "GET /"],
    "hello-shell": ["Hello from a shell script, world!", "GET /"],
    "slow": ["That took 2000 ms."],
    "stream": ["id: 0", "id: 4"],
    "dead-letters": ["mail.news to Ada failed at http://mailer.default.svc.cluster.local: 422 the mail server is unknown", "Answer       the mail server is unknown",
                     "1 dead letter of trigger invoices to be delivered again", "mail.invoice to Grace is sent", "no dead letters"],
    "nightly": ["0 3 * * * Europe/Berlin", 'report {"of": "now"} for 20', "Next run     20"],
    "webhook": ["401 the signature fits none", "202", "com.github.push", "1 taken, 1 refused"],
    "files": ["order.json has 13 bytes", "inbox", "file"],
    "own-source": ["told", "disk.free"],
    "show-events": ["accepted by broker try", "type=hello.world", '{"n": 1}'],
    "orders": ["order 7 is placed", "order 7 is shipped", "type=order.paid"],
}
NEEDS = {"hello-python": "python3", "hello-node": "node", "hello-c": "make", "hello-shell": "socat", "slow": "python3",
         "stream": "python3", "orders": "redis-server", "nightly": "redis-server", "dead-letters": "redis-server",
         "webhook": "redis-server", "files": "redis-server", "own-source": "redis-server", "show-events": "redis-server"}


def test_every_example_is_tested():
    assert set(EXPECT) == {p.parent.name for p in (ROOT / "examples").glob("*/README.md")}


def commands(name):
    text = (ROOT / "examples" / name / "README.md").read_text()
    found = re.findall(r"^    (.+)$", text, re.M)
    assert found, "the README has no commands"
    return "\n".join(found)


@pytest.mark.parametrize("name", sorted(EXPECT))
def test_as_its_readme_says(lull, name):
    if shutil.which(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    env = {**lull.env(), "PATH": f"{binary('lull').parent}:{os.environ['PATH']}"}
    got = subprocess.run(["bash", "-ec", commands(name)], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60,
                         stdin=subprocess.DEVNULL, check=False)
    assert got.returncode == 0, got.stderr
    for words in EXPECT[name]:
        # A log line is written before the answer is sent, but read a little later.
        wait_for(lambda: words in got.stdout or words in lull.cli("logs", name).stdout, 5, f"{words} in {got.stdout}")
