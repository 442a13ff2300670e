# SPDX-License-Identifier: Apache-2.0
"""Prometheus text (0.0.4) read strictly: what a scraper refuses, or `promtool check metrics` complains of, fails here."""
import re
import shutil
import subprocess

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"^({NAME})(?:\{{(.*)\}})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


def labels_of(text):
    out, at = {}, 0
    while at < len(text or ""):
        got = LABEL.match(text, at)
        assert got, f"labels that cannot be read: {text}"
        assert got[1] not in out, f"a label twice: {text}"
        out[got[1]] = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), got[2])
        at = got.end()
    return out


def check_histogram(name, series):
    groups = {}
    for (sample, labels), value in series.items():
        rest = tuple(item for item in labels if item[0] != "le")
        group = groups.setdefault(rest, {"buckets": []})
        if sample == f"{name}_bucket":
            group["buckets"].append((float(dict(labels)["le"]), value))
        else:
            group[sample[len(name):]] = value
    for rest, group in groups.items():
        bounds = [b for b, _ in group["buckets"]]
        counts = [c for _, c in group["buckets"]]
        assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), (name, rest)
        assert counts == sorted(counts) and counts[-1] == group["_count"], (name, rest, counts)
        assert group["_sum"] >= 0 and (group["_sum"] == 0 or group["_count"] > 0), (name, rest)


def read(text):
    """→ {(name, ((label, value), …)): number}; an AssertionError for anything that is not as it should be."""
    families, out, family = {}, {}, None
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _, words = line[7:].partition(" ")
            assert name not in families and words, line
            family = {"name": name, "type": None, "series": {}}
            families[name] = family
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert family and family["name"] == name and family["type"] is None and not family["series"], line
            assert kind in ("counter", "gauge", "histogram"), line
            assert (kind == "counter") == name.endswith("_total"), line
            assert not re.search(r"(_count|_sum|_bucket|_milliseconds|_ms|_kilobytes)$", name), line
            family["type"] = kind
        else:
            got = SAMPLE.match(line)
            assert got, f"not a sample: {line}"
            key = (got[1], tuple(sorted(labels_of(got[2]).items())))
            suffix = got[1][len(family["name"]):]
            assert got[1].startswith(family["name"]) and suffix in (
                ("_bucket", "_sum", "_count") if family["type"] == "histogram" else ("",)), line
            assert key not in out, f"twice: {line}"
            out[key] = family["series"][key] = float(got[3])
    for name, it in families.items():
        assert it["type"], f"{name} has no TYPE"
        if it["type"] == "histogram":
            check_histogram(name, it["series"])
    return out


def value(page, name, **labels):
    """The one sample of this name with at least these labels."""
    got = [v for (n, ls), v in read(page).items() if n == name and set(labels.items()) <= set(ls)]
    assert len(got) == 1, (name, labels, got)
    return got[0]


def promtool(text):
    """What promtool says of the page; None without promtool."""
    if not shutil.which("promtool"):
        return None
    got = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60,
                         check=False)
    return got.stdout + got.stderr if got.returncode else ""
