# SPDX-License-Identifier: Apache-2.0
"""Every key of config-autoscaler and every autoscaling annotation does what it says: each has a proof below, an outcome
without it and another with it, on `lull-autoscaler replay` or on the table of tests/reference/scaler; and values out of
its bounds are refused. A setting without a proof fails test_each_setting_has_its_proof."""
import dataclasses
import functools
import json
import re
import subprocess

import pytest
from conftest import BUILD, ROOT, binary

KNATIVE, LULL = "autoscaling.knative.dev/", "autoscaling.lull.dev/"

# What Knative 1.20 has (serving v0.50.0, pkg/autoscaler/config and pkg/apis/autoscaling).
KEYS = set("""pod-autoscaler-class enable-scale-to-zero allow-zero-initial-scale max-scale-up-rate max-scale-down-rate
container-concurrency-target-percentage container-concurrency-target-default requests-per-second-target-default
target-burst-capacity panic-window-percentage panic-threshold-percentage activator-capacity initial-scale min-scale max-scale
max-scale-limit stable-window scale-down-delay scale-to-zero-grace-period scale-to-zero-pod-retention-period""".split())
ANNOTATIONS = {KNATIVE + name for name in """class min-scale minScale max-scale maxScale initial-scale initialScale
activation-scale scale-down-delay scaleDownDelay metric target target-utilization-percentage targetUtilizationPercentage
target-burst-capacity targetBurstCapacity window panic-window-percentage panicWindowPercentage panic-threshold-percentage
panicThresholdPercentage scale-to-zero-pod-retention-period scaleToZeroPodRetentionPeriod metric-aggregation-algorithm
metricAggregationAlgorithm""".split()}


# --- what is played -----------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Settings:
    config: dict
    annotations: dict


def play(settings, lines, **more):
    """The decisions, or in the place of them why the settings are refused."""
    head = {"time": 0, "config": {"configMap": settings.config, "annotations": settings.annotations, **more}}
    text = "\n".join(json.dumps(line) for line in [head, *lines])
    got = subprocess.run([binary("lull-autoscaler"), "replay", "-"], input=text, capture_output=True, text=True, timeout=60, check=False)
    return [json.loads(line) for line in got.stdout.splitlines()] if got.returncode == 0 else got.stderr


def seconds(begin, end, **stat):
    """Numbers of each second, and a decision every two."""
    return [{"time": t * 1000, "stat": stat, **({"tick": True} if t % 2 == 0 else {})} for t in range(begin, end + 1)]


ACTIVE = {"active": "active", "initialized": True}


def steady(field, ready=1, **stat):
    """The last decision of 66 s of the same."""
    return lambda s: play(s, [{"time": 0, "ready": ready}, *seconds(1, 66, **stat)], **ACTIVE)[-1][field]


def after_rest(field, ready, busy, rest, **more):
    """The last decision when `rest` seconds of nothing follow 60 s of `busy` requests."""
    lines = [{"time": 0, "ready": ready}, *seconds(1, 60, concurrency=busy), *seconds(61, 60 + rest, concurrency=0)]
    return lambda s: play(s, lines, **{**ACTIVE, **more})[-1][field]


def burst(field):
    """The last decision when 6 s of 300 requests follow 60 s of 10."""
    lines = [{"time": 0, "ready": 1}, *seconds(1, 60, concurrency=10), *seconds(61, 66, concurrency=300)]
    return lambda s: play(s, lines, **ACTIVE)[-1][field]


def wanted(scene):
    return lambda s: scene(s)["want"]


def first_plan(s):
    """What becomes of a new revision."""
    return play(s, [{"time": 0, "replicas": 3, "ready": 0}, {"time": 1000, "tick": True}])[-1]["plan"]["want"]


def accepted(**more):
    """Whether the settings are, with others beside them."""
    def scene(s):
        both = Settings({**more.get("config", {}), **s.config}, {**more.get("annotations", {}), **s.annotations})
        return isinstance(play(both, [{"time": 1000, "tick": True}]), list)
    return scene


def beside(scene, **more):
    """The scene with other settings beside the one that is proven."""
    return lambda s: scene(Settings({**more.get("config", {}), **s.config}, {**more.get("annotations", {}), **s.annotations}))


def announced(s):
    """An idle revision, 290 s after the beginning, which is 1970-04-26T17:46:40Z; a replica takes 15 s."""
    return [d["plan"]["want"] for d in play(s, seconds(1, 290, concurrency=0), active="inactive", initialized=True, follow=True)][-1]


def rhythm(s):
    """Half a day of five busy seconds every ten minutes: how often a replica was there because of what was learned."""
    lines = []
    for start in range(0, 43200, 600):
        lines += seconds(start + 1, start + 5, concurrency=1)
        lines += [{"time": t * 1000, "stat": {"concurrency": 0, "seconds": 10}, "tick": True} for t in range(start + 15, start + 600, 10)]
    return sum(d["plan"].get("rule") == "histogram" for d in play(s, lines, follow=True, **ACTIVE))


# --- the proofs ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Proof:
    value: str
    scene: object            # what the settings lead to
    without: object          # … without this one
    then: object             # … with it
    bad: tuple = ()          # values that are refused


@dataclasses.dataclass
class Table:
    """Proven by the cases of tests/reference/scaler that have it: without it at least one has another outcome."""
    bad: tuple = ()


@dataclasses.dataclass
class Elsewhere:
    """Proven by a test elsewhere, which is there by this name."""
    path: str
    name: str
    bad: tuple = ()


BUSY = steady("desired", concurrency=7000)
TARGET = steady("target", concurrency=1)
IDLE = after_rest("plan", 1, 0, 60)

PROVEN_KEYS = {
    "pod-autoscaler-class": Elsewhere("tests/reference/golden.jsonl", "PodAutoscaler default class hpa.autoscaling.knative.dev"),
    "enable-scale-to-zero": Proof("false", wanted(IDLE), 0, 1),
    "allow-zero-initial-scale": Proof("true", accepted(annotations={KNATIVE + "initial-scale": "0"}), False, True),
    "max-scale-up-rate": Proof("2", BUSY, 100, 2, ("1", "0", "x")),
    "max-scale-down-rate": Proof("10", after_rest("desired", 20, 0, 6), 10, 2, ("1", "0.5")),
    "container-concurrency-target-percentage": Proof("50", TARGET, 70, 50, ("0", "101")),
    "container-concurrency-target-default": Proof("10", TARGET, 70, 7, ("0.001",)),
    "requests-per-second-target-default": Proof("100", beside(steady("target", requests=1), annotations={KNATIVE + "metric": "rps"}), 140, 70,
                                                ("0.001",)),
    "target-burst-capacity": Proof("0", steady("excessBurst", ready=10, concurrency=0), 789, 0, ("-2",)),
    "panic-window-percentage": Proof("50", burst("panic"), 300, 68, ("0.5", "101")),
    "panic-threshold-percentage": Proof("1000", burst("panicMode"), True, False),
    "activator-capacity": Proof("0.5", accepted(), True, False, ("0",)),  # nothing depends on it: activators never leave the path
    "initial-scale": Proof("3", first_plan, -1, 3, ("0", "-1")),
    "min-scale": Proof("2", wanted(IDLE), 0, 2, ("-1",)),
    "max-scale": Proof("3", wanted(steady("plan", concurrency=7000)), 100, 3, ("-1",)),
    "max-scale-limit": Proof("5", accepted(annotations={KNATIVE + "max-scale": "6"}), True, False, ("-1",)),
    "stable-window": Proof("6s", after_rest("desired", 1, 100, 20), 2, 0, ("5s", "2h", "6.5s")),
    "scale-down-delay": Proof("90s", after_rest("desired", 4, 280, 70), 2, 4, ("-1s", "2h")),
    "scale-to-zero-grace-period": Table(("0s",)),
    "scale-to-zero-pod-retention-period": Table(("-1s",)),
    "allow-unsafe-windows": Proof("true", accepted(config={"stable-window": "2s"}), False, True),
}

PROVEN_ANNOTATIONS = {
    KNATIVE + "class": Elsewhere("tests/unit/controller/test_hpa.c", "it_goes_with_the_class", ("other.autoscaling.knative.dev",)),
    KNATIVE + "min-scale": PROVEN_KEYS["min-scale"],
    KNATIVE + "max-scale": PROVEN_KEYS["max-scale"],
    KNATIVE + "initial-scale": PROVEN_KEYS["initial-scale"],
    KNATIVE + "activation-scale": Proof("5", steady("desired", concurrency=1), 1, 5, ("0", "x")),
    KNATIVE + "scale-down-delay": Proof("90s", PROVEN_KEYS["scale-down-delay"].scene, 2, 4, ("-1s", "2h", "1.5s")),
    KNATIVE + "metric": Proof("rps", TARGET, 70, 140, ("other",)),
    KNATIVE + "target": Proof("10", TARGET, 70, 7, ("0.001", "x")),
    KNATIVE + "target-utilization-percentage": Proof("50", TARGET, 70, 50, ("0.5", "101")),
    KNATIVE + "target-burst-capacity": PROVEN_KEYS["target-burst-capacity"],
    KNATIVE + "window": Proof("6s", PROVEN_KEYS["stable-window"].scene, 2, 0, ("5s", "2h", "6.5s")),
    KNATIVE + "panic-window-percentage": PROVEN_KEYS["panic-window-percentage"],
    KNATIVE + "panic-threshold-percentage": Proof("1000", burst("panicMode"), True, False, ("109", "1001")),
    KNATIVE + "scale-to-zero-pod-retention-period": Table(("-1s", "2h")),
    KNATIVE + "metric-aggregation-algorithm": Proof("weighted-exponential", lambda s: after_rest("stable", 1, 100, 30)(s) < 20, False, True, ("x",)),
    LULL + "policy": Proof("histogram", lambda s: rhythm(s) > 0, False, True, ("other",)),
    LULL + "histogram-bin": Proof("10m", beside(rhythm, annotations={LULL + "policy": "histogram"}), 737, 3618, ("0s", "1h")),
    LULL + "warm-at": Proof("1970-04-26T17:51:40Z", announced, 0, 1, ("soon",)),
}


# --- tests --------------------------------------------------------------------------------------------------------


def ours():
    """Keys and annotations as the source has them."""
    keys = set(re.findall(r'\bROW\("([^"]+)"', (ROOT / "lib/serving/autoscaler_config.c").read_text()))
    names = re.findall(r'#define (ANNOTATION_\w+)\s+"(autoscaling\.(?:knative|lull)\.dev/[^"]+)"', (ROOT / "lib/serving/names.h").read_text())
    return keys, dict(names)


def other_names():
    """A proven annotation -> its older spelling, where it has one."""
    names = ours()[1]
    return {name: names[macro + "_OLD"] for macro, name in names.items() if macro + "_OLD" in names}


def with_setting(where, key, value):
    settings = Settings({}, {})
    getattr(settings, where)[key] = value
    return settings


def proofs(kind):
    for where, table in (("config", PROVEN_KEYS), ("annotations", PROVEN_ANNOTATIONS)):
        for key, proof in table.items():
            for name in [key, *([other_names()[key]] if where == "annotations" and key in other_names() else [])]:
                if isinstance(proof, kind):
                    yield pytest.param(where, name, proof, id=name)


def test_each_setting_has_its_proof():
    """Whatever Knative has and whatever the source reads is proven, under all its names; and is on the page."""
    keys, names = ours()
    proven = PROVEN_ANNOTATIONS.keys() | {other_names()[key] for key in PROVEN_ANNOTATIONS if key in other_names()}
    assert len(keys) >= len(KEYS) == 20 and len(ANNOTATIONS) == 25
    assert PROVEN_KEYS.keys() == keys >= KEYS, "a key without a proof, or a proof without a key"
    assert proven == set(names.values()) >= ANNOTATIONS, "an annotation without a proof, or a proof without an annotation"
    page = (ROOT / "docs/autoscaling.md").read_text()
    missing = [key for key in [*PROVEN_KEYS, *(name.split("/")[1] for name in PROVEN_ANNOTATIONS)]
               if not re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", page)]
    assert not missing, f"not in docs/autoscaling.md: {missing}"


@pytest.mark.parametrize("where, name, proof", proofs(Proof))
def test_it_does_what_it_says(where, name, proof):
    assert proof.scene(Settings({}, {})) == proof.without
    assert proof.scene(with_setting(where, name, proof.value)) == proof.then


@pytest.mark.parametrize("where, name, proof", proofs((Proof, Table, Elsewhere)))
def test_it_has_bounds(where, name, proof):
    tick = [{"time": 1000, "tick": True}]
    for value in proof.bad:
        settings = with_setting(where, name, value)
        settings.annotations.setdefault(KNATIVE + "class", "kpa.autoscaling.knative.dev")
        refusal = play(settings, tick)
        assert isinstance(refusal, str), f"{name}: {value} is taken: {refusal}"
        assert name in refusal, refusal


@functools.cache
def table():
    return (ROOT / "tests/reference/scaler/golden.jsonl").read_text().splitlines()


def differ(tmp_path, cases):
    path = tmp_path / "cases.jsonl"
    path.write_text("\n".join(map(json.dumps, cases)))
    got = subprocess.run([BUILD / "tests/unit/autoscaler/plan_tool", path], capture_output=True, text=True, timeout=60, check=False)
    count = re.search(rf"^{len(cases)} cases, (\d+) differ$", got.stdout, re.M)
    assert count, got.stdout + got.stderr
    return int(count[1])


@pytest.mark.parametrize("where, name, proof", proofs(Table))
def test_the_table_needs_it(where, name, proof, tmp_path):
    """Its cases have the reference's outcomes with it, and not without."""
    member = "configMap" if where == "config" else where
    cases = [case for case in map(json.loads, table()) if PROVEN_NAMES.get(name, name) in case[member]]
    assert cases
    for case in cases:
        case[member][name] = case[member].pop(PROVEN_NAMES.get(name, name))
    assert differ(tmp_path, cases) == 0
    for case in cases:
        del case[member][name]
    assert differ(tmp_path, cases) > 0


@pytest.mark.parametrize("where, name, proof", proofs(Elsewhere))
def test_its_proof_is_there(where, name, proof):
    assert proof.name in (ROOT / proof.path).read_text()


PROVEN_NAMES = {old: new for new, old in other_names().items()}
