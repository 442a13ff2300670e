# SPDX-License-Identifier: Apache-2.0
"""Whether the answers in tests/reference are still those of the reference. The short test that compares
ours with them is a unit test (serving/reference); this one lets Knative's own code answer again."""
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/reference"


def test_golden_has_all_questions():
    """Each question of the corpus stands in the golden file, as it is asked today."""
    asked = subprocess.run(["python3", HERE / "corpus.py"], capture_output=True, check=True, timeout=60, text=True).stdout
    import json
    answers = {}
    for line in (HERE / "golden.jsonl").read_text().splitlines():
        entry = json.loads(line)
        answers[entry["name"]] = entry
    questions = [json.loads(line) for line in asked.splitlines()]
    assert len(questions) > 1000
    assert [q["name"] for q in questions] == list(answers), "run tests/reference/regenerate"
    stale = [q["name"] for q in questions if any(answers[q["name"]].get(k) != v for k, v in q.items() if v not in ("", False) or k == "ours")]
    assert not stale, "run tests/reference/regenerate"


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_reference_says_the_same(tmp_path):
    if shutil.which("go") is None:
        pytest.skip("needs Go: the reference is a Go module")
    if subprocess.run(["go", "mod", "download"], cwd=HERE, timeout=600).returncode:
        pytest.skip("the Go module proxy cannot be reached")
    subprocess.run([HERE / "regenerate", tmp_path], check=True, timeout=800)
    for name, kept in (("golden.jsonl", HERE / "golden.jsonl"), ("typed.def", ROOT / "lib/serving/typed.def"),
                       ("golden.txt", HERE / "autoscaler/golden.txt"), ("outcomes.jsonl", HERE / "scaler/golden.jsonl")):
        assert (tmp_path / name).read_text() == kept.read_text(), f"{name} is another: run tests/reference/regenerate"
