# SPDX-License-Identifier: Apache-2.0
"""The autoscaler's decisions against those of Knative's own autoscaler, on random recordings, and what becomes of them
against its reconciler, on random cases (tests/reference/README.md). Without Go against digests of its answers (and the
unit test autoscaler/plan_reference against a table of them), with Go tick by tick and case by case."""
import json
import os
import random
import subprocess
import sys

import go_program
import pytest
from conftest import BUILD, ROOT, binary

HERE = ROOT / "tests/reference/autoscaler"
SCALER = ROOT / "tests/reference/scaler"
sys.path.insert(0, str(HERE))
import compare  # noqa: E402

SEED, TICKS = "1", 100_000
SOAK_TICKS, SOAK_STEP = int(os.environ.get("LULL_SOAK_TICKS", 10_000_000)), 500_000
CASES, SOAK_CASES = 20_000, int(os.environ.get("LULL_SOAK_CASES", 1_000_000))


def record(folder, seed, ticks):
    path = folder / "recording.jsonl"
    with open(path, "wb") as out:
        subprocess.run([sys.executable, HERE / "scenarios.py", str(seed), str(ticks)], stdout=out, check=True, timeout=600)
    return path


def replay(recording):
    path = recording.with_name("ours.jsonl")
    with open(path, "wb") as out:
        subprocess.run([binary("lull-autoscaler"), "replay", recording], stdout=out, check=True, timeout=600)
    return path


def ask(reference, recording):
    path = recording.with_name("theirs.jsonl")
    with open(path, "wb") as out:
        subprocess.run([reference], stdin=open(recording, "rb"), stdout=out, check=True, timeout=600)
    return path


def check(reference, folder, seed, ticks):
    recording = record(folder, seed, ticks)
    with open(replay(recording)) as ours, open(ask(reference, recording)) as theirs:
        compared, loose, found = compare.compare(ours, theirs)
    assert not found, f"seed {seed}: " + "\n".join(f"{name}: ours {mine}, the reference's {his}" for name, mine, his in found)
    assert compared == ticks
    return loose


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return record(tmp_path_factory.mktemp("recording"), SEED, TICKS)


@pytest.fixture(scope="module")
def decisions(recording):
    return replay(recording)


@pytest.fixture(scope="module")
def reference():
    return go_program.from_folder("reference-autoscaler", HERE, [1, 25])


def test_decisions_are_the_references(decisions):
    """Each scenario's decisions have the digest that the reference's have."""
    with open(decisions) as ours:
        mine = compare.golden(ours)
    golden = (HERE / "golden.txt").read_text().splitlines()
    assert len(golden) >= 500 and sum(int(line.split()[1]) for line in golden) == TICKS
    wrong = [line.split()[0] for line in mine if line not in golden]
    assert not wrong and len(mine) == len(golden), f"{len(wrong)} scenarios: {wrong[:5]}; test_reference_decides_the_same says which tick"


def test_scenarios_are_worth_it(decisions):
    """The random scenarios meet every rule of the decision, and no data."""
    seen = {}
    with open(decisions) as ours:
        for line in ours:
            for name in ('"valid":false', '"panicMode":true', *(f'"rule":"{rule}"' for rule in (
                    "stable-window", "panic-window", "panic-hold", "max-scale-up-rate", "max-scale-down-rate",
                    "activation-scale", "scale-down-delay"))):
                seen[name] = seen.get(name, 0) + (name in line)
    assert all(count > 100 for count in seen.values()), seen


@pytest.mark.clients
@pytest.mark.timeout(1800)
def test_reference_decides_the_same(reference, recording, tmp_path):
    """Knative's code itself, tick by tick; and the digests are still those of its answers."""
    check(reference, tmp_path, SEED, TICKS)
    with open(tmp_path / "theirs.jsonl") as theirs:
        assert compare.golden(theirs) == (HERE / "golden.txt").read_text().splitlines(), "run tests/reference/regenerate"


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_reference_autoscaler_soak(reference, tmp_path):
    seed = os.environ.get("LULL_SEED") or str(random.randrange(1 << 32))
    print(f"LULL_SEED={seed}, {SOAK_TICKS} ticks")
    loose = 0
    for i in range(0, SOAK_TICKS, SOAK_STEP):
        loose += check(reference, tmp_path, f"{seed}-{i}", min(SOAK_STEP, SOAK_TICKS - i))
    print(f"{SOAK_TICKS} ticks the same, {loose} of them with weighted averages that differ behind the 12th digit")


@pytest.fixture(scope="module")
def reconciler():
    return go_program.from_folder("reference-scaler", SCALER, [1, 25])


def outcomes(reconciler, folder, *arguments):
    """The cases with the reference's outcomes."""
    path = folder / "answers.jsonl"
    cases = subprocess.run([sys.executable, SCALER / "cases.py", *map(str, arguments)], capture_output=True, check=True, timeout=600)
    with open(path, "wb") as out:
        subprocess.run([reconciler], input=cases.stdout, stdout=out, check=True, timeout=600)
    return path


def check_outcomes(answers, count):
    got = subprocess.run([BUILD / "tests/unit/autoscaler/plan_tool", answers], capture_output=True, text=True, check=False, timeout=600)
    assert got.returncode == 0 and got.stdout.splitlines()[-1] == f"{count} cases, 0 differ", got.stdout + got.stderr


@pytest.mark.clients
@pytest.mark.timeout(1800)
def test_reference_reconciles_the_same(reconciler, tmp_path):
    """Knative's reconciler itself, case by case; the table is still made of its answers; the cases meet every outcome."""
    answers = outcomes(reconciler, tmp_path, SEED, CASES)
    check_outcomes(answers, CASES)
    seen = {}
    for line in answers.read_text().splitlines():
        for outcome in json.loads(line)["outcomes"]:
            key = outcome["active"], min(outcome["want"], 2), outcome["write"]
            seen[key] = seen.get(key, 0) + 1
    assert len([key for key, count in seen.items() if count > 20]) >= 12, seen
    table = outcomes(reconciler, tmp_path)
    assert table.read_text() == (SCALER / "golden.jsonl").read_text(), "run tests/reference/regenerate"


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_reconciler_soak(reconciler, tmp_path):
    seed = os.environ.get("LULL_SEED") or str(random.randrange(1 << 32))
    print(f"LULL_SEED={seed}, {SOAK_CASES} cases")
    for i in range(0, SOAK_CASES, 50_000):
        count = min(50_000, SOAK_CASES - i)
        check_outcomes(outcomes(reconciler, tmp_path, f"{seed}-{i}", count), count)
    print(f"{SOAK_CASES} cases the same")
