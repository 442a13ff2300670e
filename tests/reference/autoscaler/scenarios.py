# SPDX-License-Identifier: Apache-2.0
"""Random recordings for the autoscaler and for the reference, always the same for one seed:
    scenarios.py SEED TICKS
prints lines of JSON as docs/replay.md has them. Each scenario has settings of its own, a load with a shape,
and replicas that come and go without regard to what is decided: any state can meet any number."""
import json
import math
import random
import sys

PREFIX = "autoscaling.knative.dev/"
TICKS = 200  # in one scenario


def maybe(r, chance, value):
    return value() if r.random() < chance else None


def number(x):
    """A text that every reader takes for the same number."""
    return repr(x)


def config_map(r):
    stable = r.choice([6, 7, 10, 30, 60, 60, 61, 90, 300])
    settings = {
        "max-scale-up-rate": maybe(r, .4, lambda: number(r.choice([1.1, 1.5, 2.0, 3.3, 10.0, 1000.0]))),
        "max-scale-down-rate": maybe(r, .4, lambda: number(r.choice([1.1, 1.5, 2.0, 3.0, 10.0]))),
        "container-concurrency-target-percentage": maybe(r, .3, lambda: number(r.choice([1.0, 0.5, 55.5, 70.0, 100.0]))),
        "container-concurrency-target-default": maybe(r, .3, lambda: number(r.choice([1.0, 2.5, 10.0, 100.0]))),
        "requests-per-second-target-default": maybe(r, .3, lambda: number(r.choice([0.5, 10.0, 150.0]))),
        "target-burst-capacity": maybe(r, .5, lambda: number(r.choice([-1.0, 0.0, 1.0, 10.5, 70.0, 1000.0]))),
        "panic-window-percentage": maybe(r, .4, lambda: number(r.choice([1.0, 5.0, 10.0, 12.5, 33.0, 50.0, 100.0]))),
        "panic-threshold-percentage": maybe(r, .4, lambda: number(r.choice([20.0, 110.0, 150.0, 200.0, 333.0, 1000.0]))),
        "stable-window": maybe(r, .6, lambda: f"{stable}s"),
        "scale-down-delay": maybe(r, .2, lambda: f"{r.choice([1, 2, 3, 5, 30, 61])}s"),
    }
    return {k: v for k, v in settings.items() if v is not None}


def annotations(r):
    metric = maybe(r, .4, lambda: r.choice(["concurrency", "rps"]))
    settings = {
        "class": maybe(r, .3, lambda: "kpa.autoscaling.knative.dev"),
        "metric": metric,
        "target": maybe(r, .4, lambda: number(r.choice([0.01, 0.3, 1.0, 2.0, 7.7, 50.0, 200.0]))),
        r.choice(["target-utilization-percentage", "targetUtilizationPercentage"]):
            maybe(r, .2, lambda: number(r.choice([1.0, 33.3, 70.0, 100.0]))),
        r.choice(["target-burst-capacity", "targetBurstCapacity"]): maybe(r, .2, lambda: number(r.choice([-1.0, 0.0, 20.0, 300.0]))),
        "window": maybe(r, .4, lambda: r.choice(["6s", "8s", "15s", "40s", "60s", "2m", "1m1s"])),
        r.choice(["panic-window-percentage", "panicWindowPercentage"]): maybe(r, .2, lambda: number(r.choice([1.0, 10.0, 40.0, 100.0]))),
        r.choice(["panic-threshold-percentage", "panicThresholdPercentage"]): maybe(r, .2, lambda: number(r.choice([110.0, 200.0, 500.0, 1000.0]))),
        "activation-scale": maybe(r, .2, lambda: str(r.choice([2, 3, 10]))),
        r.choice(["scale-down-delay", "scaleDownDelay"]): maybe(r, .2, lambda: f"{r.choice([0, 1, 4, 9, 60, 120])}s"),
        r.choice(["metric-aggregation-algorithm", "metricAggregationAlgorithm"]):
            maybe(r, .3, lambda: r.choice(["linear", "weighted-exponential"])),
    }
    return {PREFIX + k: v for k, v in settings.items() if v is not None}


def amount(r, scale):
    """A number of requests: whole, broken, tiny or none."""
    kind = r.random()
    if kind < .15:
        return 0
    if kind < .5:
        return r.randrange(1, 2 + int(scale))
    if kind < .97:
        return r.random() * scale
    return r.choice([1e-7, 4.9e-7, 5e-7, 1e6])


class Load:
    """How much there is at a moment; changes its shape now and then."""

    def __init__(self, r):
        self.r, self.level = r, r.choice([.5, 3, 20, 100, 500])
        self.turn(0)

    def turn(self, t):
        self.shape = self.r.choice(["flat", "flat", "noise", "wave", "burst", "silence", "silence", "gone", "edge"])
        self.until = t + self.r.choice([5, 10, 20, 60, 120, 200]) * 1000
        self.base = self.level * self.r.random() * 2

    def at(self, t):
        if t >= self.until:
            self.turn(t)
        return {"flat": lambda: self.base, "noise": lambda: amount(self.r, self.level),
                "wave": lambda: max(0.0, self.base * math.sin(t / 9000)),
                "burst": lambda: self.base * 20 if self.r.random() < .2 else 0.0,
                "silence": lambda: 0, "gone": lambda: None,
                "edge": lambda: self.r.choice([70, 140, 70.0000001, 69.9999999, 100, 200, 0.7])}[self.shape]()


def stat(r, load):
    proxied = load * r.choice([0, 0, 0, .5, 1])
    count = load * r.choice([1, 1, .3, 12])
    made = {"concurrency": load, "requests": count}
    if proxied:
        made["proxiedConcurrency"], made["proxiedRequests"] = proxied, min(count, count * r.random())
    return made


def second(r, load, t, ready):
    """What is heard in a second: stats of activators, a scrape, nothing."""
    have = load.at(t)
    if have is None:
        return
    for _ in range(r.choice([1, 1, 1, 2, 0])):
        at = t + r.choice([0, 0, 0, 1, 350, 999])
        if r.random() < .02:
            at = max(0, at - r.choice([1000, 3000, 8000, 70000]))  # comes late
        yield {"time": at, "stat": stat(r, have)}
    if ready and r.random() < .2:
        answers = [stat(r, have / ready) for _ in range(min(ready, r.choice([20, 20, 16, 1])))]
        yield {"time": t, "scrape": {"ready": ready, "answers": answers}}


def settings(r):
    cc = r.choice([0, 0, 0, 1, 10, 100])
    return {"configMap": config_map(r), "annotations": annotations(r), "containerConcurrency": cc}


def rules(config):
    """What a scenario must keep when its settings change: the average and the delay are chosen once."""
    kept = ("aggregation", "Aggregation", "scale-down-delay", "scaleDownDelay", "target-burst", "targetBurst")
    return {part: {k: v for k, v in config[part].items() if any(name in k for name in kept)} for part in ("configMap", "annotations")}


def changed(r, old):
    new, kept = settings(r), rules(old)
    for part in ("configMap", "annotations"):
        for k in rules(new)[part]:
            del new[part][k]
        new[part].update(kept[part])
    return new


def scenario(r, ticks):
    config, ready, t = settings(r), r.choice([0, 0, 1, 1, 2, 5, 40]), r.randrange(0, 100_000_000)
    load = Load(r)
    yield {"time": t, "config": config}
    yield {"time": t, "ready": ready}
    done = 0
    while done < ticks:
        for _ in range(r.choice([2, 2, 2, 2, 1, 3])):
            t += 1000
            yield from second(r, load, t, ready)
        t += r.choice([0, 0, 1, 500])
        if r.random() < .15:
            ready = max(0, r.choice([0, 1, ready + 1, ready - 1, ready * 2, ready // 2, r.randrange(0, 60)]))
            yield {"time": t, "ready": ready}
        if r.random() < .01:
            t += r.choice([6000, 7000, 59000, 60000, 61000, 400000])  # nothing happens at all
        if r.random() < .01:
            yield {"time": t, "stat": stat(r, load.level)}  # a window that is not empty changes its length
            config = changed(r, config)
            config["reachable"] = r.random() < .8
            yield {"time": t, "config": config}
        if r.random() < .003:
            yield {"time": t, "restart": True}
        yield {"time": t, "tick": True}
        done += 1


def main(seed, ticks):
    write = sys.stdout.write
    for i in range(0, ticks, TICKS):
        r = random.Random(f"{seed}/{i}")
        write(json.dumps({"scenario": f"{seed}/{i}"}) + "\n")
        for line in scenario(r, min(TICKS, ticks - i)):
            write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
