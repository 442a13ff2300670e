# SPDX-License-Identifier: Apache-2.0
"""The lines that README.md, docs/cli.md and docs/events.md tell people to type, typed."""
import re
import shutil
import subprocess

import pytest
from conftest import ROOT, binary


def lines_of(page, heading):
    """The indented lines under a heading, without their comments."""
    text = (ROOT / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = [re.sub(r"\s+# .*", "", line).strip() for line in re.findall(r"^    (\S.*)$", text, re.M)]
    assert found, f"{page}: no lines under {heading}"
    return found


def type_all(lull, lines, folder):
    """One shell for all; what begins with lull must succeed. Files that the lines make are made in `folder`."""
    (folder / "examples").symlink_to(ROOT / "examples")
    script = "\n".join([f"PATH={binary('lull').parent}:$PATH", "set -eo pipefail", *lines])
    got = subprocess.run(["bash", "-xc", script], cwd=folder, env=lull.env(), capture_output=True, text=True, timeout=120,
                         check=False, stdin=subprocess.DEVNULL)
    assert got.returncode == 0, got.stdout[-3000:] + got.stderr[-3000:]
    return got.stdout


def test_the_tour_of_the_command(lull, tmp_path):
    out = type_all(lull, lines_of("docs/cli.md", "A tour"), tmp_path)
    assert "Hello from C, world!" in out and "hello-00002 (latest)" in out and "(all of secret:db)" in out


def test_what_goes_on_and_what_is_wrong(lull, tmp_path):
    out = type_all(lull, lines_of("docs/cli.md", "What goes on, and what is wrong"), tmp_path)
    assert "REPLICAS" in out and '"memoryBytes"' in out and " 0 failed" in out


def test_the_first_five_minutes_of_events(lull, tmp_path):
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    out = type_all(lull, lines_of("docs/events.md", "The first five minutes"), tmp_path)
    assert out.count("accepted by broker default") == 2 and "http://show.default.svc.cluster.local" in out
    assert "type=greeting" in out and " 0 attempts failed" in out and "  farewell  " in out and "type=farewell" not in out


def test_the_first_five_minutes(lull_home, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    lines = [line for line in lines_of("README.md", "The first five minutes") if not line.startswith(("export PATH", "kubectl"))]
    assert lines[0] == "lull up --detach" and lines[-1] == "lull down"
    lines[0] += " --public-port 0 --local-port 0 --api-port 0"
    out = type_all(lull_home, lines, tmp_path)
    assert "Hello from Python, world!" in out
