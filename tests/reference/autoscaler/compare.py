# SPDX-License-Identifier: Apache-2.0
"""Compares decisions of lull-autoscaler with the reference's, line by line.
    compare.py OURS REFERENCE     prints the first differences; exit 1 when there are any
    compare.py --golden DECISIONS prints a line per scenario: its name, its ticks and a digest"""
import hashlib
import json
import sys

# What must be the same. Averages of linear windows agree to the bit; weighted ones come from two
# implementations of pow.
EXACT = ("time", "scenario", "valid", "desired", "panicMode", "excessBurst", "target")
WEIGHTED = 1e-12


def near(a, b, weighted):
    return a == b or (weighted and abs(a - b) <= WEIGHTED * max(abs(a), abs(b)))


def differs(ours, theirs):
    """The first field that is not the same, or None. What is not valid has no numbers."""
    for name in EXACT if theirs["valid"] else EXACT[:3]:
        if ours.get(name) != theirs.get(name):
            return name
    if theirs["valid"]:
        for name in ("stable", "panic"):
            if not near(ours[name], theirs[name], theirs.get("weighted", False)):
                return name
    return None


def compare(ours, theirs, most=5):
    """(ticks, averages that are not equal to the bit, differences)"""
    ticks, loose, found = 0, 0, []
    for mine, his in zip(ours, theirs, strict=True):
        mine, his = json.loads(mine), json.loads(his)
        ticks += 1
        name = differs(mine, his)
        if name:
            found.append((name, mine, his))
            if len(found) == most:
                break
        elif his["valid"]:
            loose += mine["stable"] != his["stable"] or mine["panic"] != his["panic"]
    return ticks, loose, found


def golden(decisions):
    """A digest per scenario. Nine digits of the averages: weighted ones differ behind them."""
    digests = {}
    for text in decisions:
        d = json.loads(text)
        digest, ticks = digests.get(d["scenario"], (hashlib.sha256(), 0))
        fields = [d["time"], d["valid"]]
        if d["valid"]:
            fields += [d["desired"], d["panicMode"], d["excessBurst"]] + ["%.9g" % d[k] for k in ("target", "stable", "panic")]
        digest.update((" ".join(map(str, fields)) + "\n").encode())
        digests[d["scenario"]] = (digest, ticks + 1)
    return [f"{name} {ticks} {digest.hexdigest()[:32]}" for name, (digest, ticks) in digests.items()]


def main(args):
    if args[0] == "--golden":
        print("\n".join(golden(open(args[1]))))
        return 0
    ticks, loose, found = compare(open(args[0]), open(args[1]))
    for name, mine, his in found:
        print(f"{name}:\n  ours      {mine}\n  reference {his}")
    print(f"{ticks} ticks, {loose} with averages that are not equal to the bit, {len(found)} differences")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
