#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cases for the reference's reconciler, a line of JSON each (../README.md): `cases.py` prints the table below,
`cases.py SEED COUNT` random ones, the same for the same seed."""
import json
import random
import sys

PREFIX = "autoscaling.knative.dev/"
PROGRESS_DEADLINE = "serving.knative.dev/progress-deadline"
NEW = {"active": "activating", "for": 0, "initialized": False}


def running(seconds):
    return {"active": "active", "for": seconds, "initialized": True}


def idle(seconds):
    return {"active": "inactive", "for": seconds, "initialized": True}


def starting(seconds):
    return {"active": "activating", "for": seconds, "initialized": True}


def step(desired, replicas, ready=None, after=0, reachable=True, path=100000):
    return {"after": after, "desired": desired, "reachable": reachable, "replicas": replicas,
            "ready": replicas if ready is None else ready, "pathFor": path}


def case(name, start, *steps, config=None, deadline=None, **annotations):
    annotations = {PREFIX + key.replace("_", "-"): str(value) for key, value in annotations.items()}
    if deadline:
        annotations[PROGRESS_DEADLINE] = deadline
    return {"name": name, "configMap": config or {}, "annotations": annotations, "start": start, "steps": list(steps)}


def bounds():
    for low, high, desired in ((2, 0, 0), (2, 0, 1), (2, 0, 3), (0, 5, 5), (0, 5, 6), (2, 5, 9), (3, 3, 0), (3, 3, 9)):
        yield case(f"bounds {low}..{high} of {desired}", running(1000), step(desired, 4), min_scale=low, max_scale=high)
        yield case(f"bounds {low}..{high} of {desired}, unreachable", running(1000), step(desired, 4, reachable=False),
                   min_scale=low, max_scale=high)
    yield case("bounds of the ConfigMap", running(1000), step(0, 4), step(9, 4, after=2), config={"min-scale": "2", "max-scale": "6"})
    yield case("annotations before the ConfigMap", running(1000), step(0, 4), step(9, 4, after=2),
               config={"min-scale": "2", "max-scale": "6"}, min_scale=0, max_scale=0)
    yield case("more than the bound is taken down", running(1000), step(8, 8), max_scale=5)
    yield case("minimum comes back with reachability", running(1000), step(0, 1, reachable=False), step(0, 0, after=5, reachable=False),
               step(0, 0, after=5), min_scale=2)


def initial():
    yield case("initial scale 1", NEW, step(-1, 1, 0), step(-1, 1, 1, after=3), step(0, 1, after=2), step(0, 1, after=60))
    yield case("initial scale 1 that never becomes ready", NEW, step(-1, 1, 0), step(-1, 1, 0, after=629), step(-1, 1, 0, after=2),
               step(-1, 0, after=5), step(0, 0, after=5), step(1, 0, after=5))
    yield case("initial scale 1, no traffic, never ready", NEW, step(0, 1, 0), step(0, 1, 0, after=629), step(0, 1, 0, after=2),
               step(0, 0, after=2))
    yield case("initial scale 3", NEW, step(-1, 3, 0), step(0, 3, 2, after=2), step(0, 3, 3, after=2), step(0, 3, after=2), initial_scale=3)
    yield case("initial scale 3 that never becomes ready", NEW, step(-1, 3, 0), step(0, 3, 2, after=700), step(0, 3, 2, after=700),
               initial_scale=3)
    yield case("initial scale 3, unreachable", NEW, step(-1, 3, 0, reachable=False), step(0, 3, 2, after=2, reachable=False), initial_scale=3)
    yield case("initial scale 3 below the minimum", NEW, step(-1, 5, 0), step(0, 5, 3, after=2), step(0, 5, 5, after=2), step(0, 5, after=2),
               initial_scale=3, min_scale=5)
    yield case("initial scale 3 above the maximum", NEW, step(-1, 3, 0), step(0, 2, 2, after=2), initial_scale=3, max_scale=2)
    yield case("initial scale 0", NEW, step(-1, 0), step(-1, 0, after=2), step(0, 0, after=2), step(1, 0, after=2), step(1, 1, 0, after=2),
               step(1, 1, after=2), config={"allow-zero-initial-scale": "true"}, initial_scale=0)
    yield case("initial scale 0 of the ConfigMap", NEW, step(-1, 0), step(-1, 0, after=2),
               config={"allow-zero-initial-scale": "true", "initial-scale": "0"})
    yield case("initial scale 0 with a minimum", NEW, step(-1, 0), step(-1, 2, 0, after=2), step(-1, 2, after=2),
               config={"allow-zero-initial-scale": "true"}, initial_scale=0, min_scale=2)
    yield case("traffic before the initial scale is there", NEW, step(5, 3, 1), step(5, 5, 3, after=2), step(5, 5, after=2), initial_scale=3)
    yield case("initialised once, a fall does not count", running(5), step(1, 3, 0), step(1, 3, 1, after=2), initial_scale=3)


def to_zero():
    for seconds in (0, 1, 59, 60, 61):
        yield case(f"active for {seconds} s", running(seconds), step(0, 1))
        yield case(f"active for {seconds} s, three replicas", running(seconds), step(0, 3))
    for seconds in (5, 6, 7):
        yield case(f"window 6 s, active for {seconds} s", running(seconds), step(0, 1), config={"stable-window": "6s"})
        yield case(f"window 6 s of the revision, active for {seconds} s", running(seconds), step(0, 1), window="6s")
    yield case("zero is off", running(1000), step(0, 2), step(0, 1, after=100), config={"enable-scale-to-zero": "false"})
    yield case("zero is off while it is inactive", idle(1000), step(0, 0), config={"enable-scale-to-zero": "false"})
    yield case("zero is off while it starts", NEW, step(-1, 1, 0), step(-1, 1, 0, after=700), config={"enable-scale-to-zero": "false"})


def grace():
    for path in (0, 10, 29, 30, 31):
        yield case(f"path for {path} s", running(1000), step(0, 1, path=path), step(0, 1, after=10, path=path + 10),
                   step(0, 1, after=10, path=path + 20), step(0, 1, after=10, path=path + 30))
    yield case("grace 10 s", running(1000), step(0, 1, path=0), step(0, 1, after=9, path=9), step(0, 1, after=1, path=10),
               config={"scale-to-zero-grace-period": "10s"})
    yield case("inactive for longer than grace, the path is new", idle(30), step(0, 1, path=0))
    yield case("inactive for less than grace, the path is new", idle(29), step(0, 1, path=0))
    yield case("without a burst target nobody is asked", running(1000), step(0, 1, path=0), step(0, 1, after=30, path=30),
               target_burst_capacity=-1)


def retention():
    for seconds in (0, 39, 40, 41):
        yield case(f"retention 40 s, inactive for {seconds} s", idle(seconds), step(0, 1), scale_to_zero_pod_retention_period="40s")
        yield case(f"retention 40 s, inactive for {seconds} s, unreachable", idle(seconds), step(0, 1, reachable=False),
                   scale_to_zero_pod_retention_period="40s")
        yield case(f"retention 40 s of the ConfigMap, inactive for {seconds} s", idle(seconds), step(0, 1),
                   config={"scale-to-zero-pod-retention-period": "40s"})
    yield case("retention 0 s of the revision", idle(31), step(0, 1), config={"scale-to-zero-pod-retention-period": "40s"},
               scale_to_zero_pod_retention_period="0s")
    yield case("retention longer than grace, the path is new", idle(35), step(0, 1, path=0), step(0, 1, after=5, path=5),
               scale_to_zero_pod_retention_period="40s")
    yield case("retention shorter than grace, the path is new", idle(12), step(0, 1, path=12), step(0, 1, after=18, path=30),
               scale_to_zero_pod_retention_period="10s")
    yield case("traffic within retention", running(1000), step(0, 1), step(2, 1, after=10), step(2, 2, after=5), step(0, 2, after=30),
               step(0, 1, after=30), scale_to_zero_pod_retention_period="2m")


def activation():
    for seconds in (0, 629, 631):
        yield case(f"starting for {seconds} s", starting(seconds), step(0, 1, 0))
    for seconds in (59, 61):
        yield case(f"deadline 30 s, starting for {seconds} s", starting(seconds), step(0, 1, 0), deadline="30s")
    yield case("given up, then traffic", starting(631), step(0, 1, 0), step(1, 0, after=5), step(1, 1, 0, after=5), step(1, 1, after=5))
    yield case("given up, then rest", starting(631), step(0, 1, 0), step(0, 0, after=5), step(0, 0, after=50))
    yield case("given up, retention", starting(631), step(0, 1, 0), step(0, 1, after=5), step(0, 1, after=50),
               scale_to_zero_pod_retention_period="40s")
    yield case("traffic while it starts", starting(700), step(3, 1, 0), step(3, 3, 1, after=5))
    yield case("a replica is there, traffic is gone", starting(5), step(0, 1, 1), step(0, 1, 1, after=2), step(0, 1, 1, after=58))


def restarts():
    yield case("no data while it runs", running(1000), step(-1, 3), step(2, 3, after=5))
    yield case("no data while it runs, a replica falls", running(1000), step(-1, 3, 0), step(-1, 3, 0, after=10), step(-1, 3, 3, after=5))
    yield case("no data while it rests", idle(1000), step(-1, 0), step(-1, 0, 1, after=5))
    yield case("no data while it starts", starting(5), step(-1, 1, 0), step(-1, 1, 1, after=5))
    yield case("no data, below the minimum", running(1000), step(-1, 1), min_scale=3)
    yield case("unreachable, no data", running(1000), step(-1, 2, reachable=False), min_scale=2)
    yield case("falls below the minimum", running(1000), step(2, 2, 1), step(2, 2, 2, after=5), min_scale=2)


def table():
    for group in (bounds, initial, to_zero, grace, retention, activation, restarts):
        yield from group()


def chance(rng, value, share=0.5, otherwise=None):
    return value if rng.random() < share else otherwise


def seconds(rng, *near):
    """A time, often one of those that matter, or a second beside it."""
    return max(0, rng.choice((0, 1, 2, 5, 10, *near)) + rng.choice((0, 0, 0, -1, 1)))


def random_case(rng, name):
    window, grace_s, retention_s = rng.choice((6, 30, 60)), rng.choice((6, 30, 40)), rng.choice((0, 0, 20, 90))
    low, initial_scale = rng.choice((0, 0, 0, 1, 2, 3)), rng.choice((0, 1, 1, 1, 2, 3, 5))
    high = rng.choice((0, 0, low + 1, low + 3)) if low or rng.random() < 0.5 else 0
    config = {"stable-window": f"{window}s", "scale-to-zero-grace-period": f"{grace_s}s", "allow-zero-initial-scale": "true",
              "scale-to-zero-pod-retention-period": f"{retention_s}s"}
    if rng.random() < 0.1:
        config["enable-scale-to-zero"] = "false"
    annotations = {"min_scale": chance(rng, low), "max_scale": chance(rng, high), "initial_scale": chance(rng, initial_scale, 0.8),
                   "scale_to_zero_pod_retention_period": chance(rng, "15s", 0.2)}
    deadline = rng.choice((None, 30, 30))
    start = rng.choice((NEW, running(seconds(rng, window)), idle(seconds(rng, grace_s, retention_s)), starting(seconds(rng, 60))))
    steps, known, path, replicas = [], rng.random() < 0.8, rng.choice((0, 0, 100000)), rng.choice((0, 1, 2, 3))
    for _ in range(rng.randrange(4, 13)):
        after = seconds(rng, window, grace_s, retention_s, 60, 630)
        path = rng.choice((0, path + after, path + after, path + after))
        known = known or rng.random() < 0.3
        replicas = rng.choice((replicas, replicas, 0, 1, low, initial_scale, 4))
        steps.append(step(rng.choice((0, 0, 0, 1, 2, 3, 6)) if known else -1, replicas, rng.choice((0, 1, replicas, replicas, replicas)),
                          after, rng.random() < 0.85, path))
    return case(name, start, *steps, config=config, deadline=f"{deadline}s" if deadline else None,
                **{key: value for key, value in annotations.items() if value is not None})


def main():
    if len(sys.argv) == 3:
        cases = (random_case(random.Random(f"{sys.argv[1]} {i}"), f"{sys.argv[1]}-{i}") for i in range(int(sys.argv[2])))
    else:
        cases = table()
    for one in cases:
        print(json.dumps(one, separators=(",", ":")))


if __name__ == "__main__":
    main()
