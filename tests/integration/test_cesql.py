# SPDX-License-Identifier: Apache-2.0
"""CloudEvents SQL's own test kit, as it ships in a Go module: every case of it, on our evaluator. The cases
that need no network stand in tests/unit/events/test_cesql.c."""
import json
import pathlib
import subprocess

import go_program
import pytest
from conftest import binary

MODULE = "github.com/cloudevents/sdk-go/sql/v2@v2.16.2"
SUM = "h1:ufWHXiH1ZVd0WDbzTX9Nod9Sdq5wcnaqyL0iA1fBwYs="
CASES = 275  # as many as there were


def kit():
    go_program.need_go([1, 17])
    got = go_program.go("mod", "download", "-json", MODULE, timeout=300, cwd="/", GONOSUMDB="*")
    if got.returncode:
        pytest.skip(f"the module with the test kit cannot be had: {got.stdout[-300:]}{got.stderr[-300:]}")
    found = json.loads(got.stdout)
    assert found["Sum"] == SUM, "the module is another one than it was"
    return sorted((pathlib.Path(found["Dir"]) / "test/tck").glob("*.yaml"))


@pytest.mark.timeout(360)
def test_kit_of_cesql():
    files = kit()
    assert len(files) >= 18
    done = subprocess.run([binary("cesql-tck"), *files], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[-4]) >= CASES, done.stdout
