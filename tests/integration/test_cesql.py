# SPDX-License-Identifier: Apache-2.0
"""CloudEvents SQL beside others: the cases of its own test kit, as it ships in a Go module, and the answers of the Go reference to
random expressions. More cases, which need neither, stand in tests/unit/events/test_cesql.c."""
import json
import os
import pathlib
import random
import subprocess
import sys

import go_program
import pytest
from conftest import ROOT, binary

HERE = ROOT / "tests/reference/cesql"
MODULE = "github.com/cloudevents/sdk-go/sql/v2@v2.16.2"
SUM = "h1:ufWHXiH1ZVd0WDbzTX9Nod9Sdq5wcnaqyL0iA1fBwYs="
CASES = 275  # as many as there were
SOAK_EXPRESSIONS, SOAK_STEP = int(os.environ.get("LULL_SOAK_EXPRESSIONS", 1_000_000)), 100_000


def kit():
    go_program.need_go([1, 17])
    try:
        got = go_program.go("mod", "download", "-json", MODULE, timeout=120, cwd="/", GONOSUMDB="*")
    except subprocess.TimeoutExpired:
        pytest.skip("the module with the test kit did not come within two minutes")
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


def answers(program, questions):
    done = subprocess.run([program], input=questions, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def compare(questions, ours, theirs):
    """→ how many answers were values without an error"""
    questions, fine = questions.splitlines(), 0
    assert len(ours) == len(theirs) == len(questions) > 0
    for question, mine, his in zip(questions, ours, theirs):
        his = json.loads(his)
        assert json.loads(mine) == his, f"{question}\nours {mine}\nthe reference's {his}"
        fine += his["error"] == "none"
    return fine


def test_answers_of_the_reference():
    """Its answers as they stand in the tree: tests/reference/cesql/regenerate."""
    lines = (HERE / "golden.jsonl").read_text().splitlines()
    questions = "\n".join(lines[::2]) + "\n"
    assert compare(questions, answers(binary("cesql-tck"), questions), lines[1::2]) > 150


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_reference_answers_many():
    reference = go_program.from_folder("cesql-reference", HERE, [1, 23])
    seed = int(os.environ.get("LULL_SEED", random.randrange(1 << 30)))
    for done in range(0, SOAK_EXPRESSIONS, SOAK_STEP):
        seed += 1
        print(f"LULL_SEED={seed - 1}, {done} done", flush=True)
        questions = subprocess.run([sys.executable, HERE / "questions.py", str(seed), str(SOAK_STEP)], capture_output=True, text=True,
                                   timeout=600, check=True).stdout
        assert compare(questions, answers(binary("cesql-tck"), questions), answers(reference, questions)) > SOAK_STEP // 5
