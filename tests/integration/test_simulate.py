# SPDX-License-Identifier: Apache-2.0
"""lull simulate: the same bytes every time, skipped ticks or not, whatever the order of the files."""
import json
import os
import subprocess
import xml.dom.minidom

import pytest

BUILD = os.environ.get("LULL_BUILD", os.path.join(os.path.dirname(__file__), "../../build"))
AUTOSCALER = os.path.join(BUILD, "autoscaler/lull-autoscaler")
# Each way in which a tick may matter: windows, panic, delay, retention, rates, limits, weights, pre-warming.
SETS = ["plain", "retention:scale-to-zero-pod-retention-period=9m", "histogram:policy=histogram,histogram-bin=10s",
        "limited:container-concurrency=1,target-utilization-percentage=70",
        "delayed:scale-down-delay=40s,container-concurrency=2", "slow:window=6s,start-time=20s,container-concurrency=1",
        "rps:metric=rps,target=2,max-scale=3", "kept:min-scale=1",
        "weighted:metric-aggregation-algorithm=weighted-exponential,container-concurrency=1",
        "never:config.enable-scale-to-zero=false", "active:activation-scale=3,window=10s"]


def simulate(*args, status=0, env=None, cwd=None):
    done = subprocess.run([AUTOSCALER, "simulate", *map(str, args)], capture_output=True, text=True, timeout=120, check=False,
                          cwd=cwd, env={**os.environ, **(env or {})})
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def sets(names=SETS):
    return [word for name in names for word in ("--set", name)]


@pytest.mark.parametrize("load", [("--synthetic", 12, "--days", 0.15, "--seed", 3),
                                  ("--synthetic", 2, "--days", 0.02, "--dense", 7, "--seed", 5)])
def test_skipped_ticks_are_as_if_they_had_been_made(load):
    quick = simulate(*load, "-o", "json", *sets())
    assert quick == simulate(*load, "-o", "json", *sets(), "--every-tick")
    rows = {row["name"]: row for row in json.loads(quick)["settings"]}
    assert len({json.dumps({**row, "name": ""}) for row in rows.values()}) >= 6, "the settings make no difference"
    assert len({row["invocations"] for row in rows.values()}) == 1


def write_traces(folder):
    folder.mkdir()
    header = "HashOwner,HashApp,HashFunction,Trigger," + ",".join(str(i) for i in range(1, 1441))
    for day in (1, 2):
        lines = [header]
        for f in range(6):
            counts = [(f + 1) if (m + 7 * f) % (11 + 13 * f) == 0 else 0 for m in range(1440)]
            lines.append(f"o,a,f{f},http," + ",".join(map(str, counts)))
        (folder / f"invocations.d0{day}.csv").write_text("\n".join(lines) + "\n")
        (folder / f"durations.d0{day}.csv").write_text(
            "HashOwner,HashApp,HashFunction,Average,Count\n" + "".join(f"o,a,f{f},{100 * day * f},5\n" for f in range(5)))
    return [folder / name for name in ("invocations.d01.csv", "durations.d01.csv", "invocations.d02.csv", "durations.d02.csv")]


def test_the_same_bytes_whatever_order_locale_and_memory(tmp_path):
    files = write_traces(tmp_path / "traces")
    picture, other = tmp_path / "a.svg", tmp_path / "b.svg"
    first = simulate(*files, *sets(), "--plot", picture)
    assert "invocations of 6 functions in 2.00 days" in first
    again = simulate(*sets(), "--plot", other, "--memory", "4Ki", *reversed(files),
                     env={"LC_ALL": "de_DE.UTF-8", "TZ": "Asia/Kathmandu", "LULL_HOME": "/nowhere"}, cwd=tmp_path)
    assert first == again
    assert picture.read_bytes() == other.read_bytes()
    svg = xml.dom.minidom.parseString(picture.read_text())
    assert len(svg.getElementsByTagName("polyline")) == len(SETS)
    assert len(svg.getElementsByTagName("circle")) == len(SETS)


def test_a_trace_by_hand(tmp_path):
    """Three requests: cold, warm, and cold again after 61 s and more of silence; a replica takes half a second."""
    log = tmp_path / "f.log"
    log.write_text('2026-01-02T10:00:01.000Z stdout F {"httpRequest": {"latency": "1.0s"}}\n'
                   "2026-01-02T10:00:02.000Z stderr F a word of its own\n"
                   '{"time": "2026-01-02T10:00:10.25Z", "latency": 0.25}\n'
                   '{"time": "2026-01-02T10:05:00Z", "httpRequest": {"latency": "0.5s"}}\n')
    got = json.loads(simulate(log, "-o", "json", *sets(SETS[:2])))
    plain, kept = got["settings"]
    assert (got["functions"], plain["invocations"], plain["coldStarts"], plain["starts"]) == (1, 3, 2, 2)
    assert kept["coldStarts"] == 1
    assert plain["waitSeconds"] == {"p50": pytest.approx(0.5, rel=0.04), "p95": pytest.approx(0.5, rel=0.04),
                                    "p99": pytest.approx(0.5, rel=0.04), "sum": 1}
    assert plain["usedSeconds"] == pytest.approx(1.75)
    # Until the stable window is empty: the last bit of the second request lies in the report of second 11, and 71 is no tick.
    assert 70 <= plain["replicaSeconds"] - 1.5 <= 76
    assert kept["replicaSeconds"] > 300


def test_recorded_and_2021_and_arrivals(tmp_path):
    recorded, azure, arrivals = tmp_path / "traffic.log", tmp_path / "2021.csv", tmp_path / "llm.csv"
    recorded.write_text("# lull traffic 1\n1700000000 default/a-00001 2 300\n1700000001 default/a-00001 0 700\n"
                        "1700000100 default/b-00001 1 10\n")
    azure.write_text("app,func,end_timestamp,duration\r\na,f,10.5,0.5\r\na,g,20,30\r\n")
    arrivals.write_text("TIMESTAMP,ContextTokens\n2023-11-16 18:17:03.9799600,48\n")
    one = json.loads(simulate(recorded, "-o", "json", "--only", "default/a-00001"))["settings"][0]
    assert (one["invocations"], one["usedSeconds"]) == (2, 0.5)  # both start together, and run for half a second each
    assert json.loads(simulate(recorded, "-o", "json"))["functions"] == 2
    assert json.loads(simulate(azure, "-o", "json"))["settings"][0]["invocations"] == 2
    assert json.loads(simulate(arrivals, "-o", "json", "--duration", "2s"))["settings"][0]["usedSeconds"] == 2


@pytest.mark.parametrize("name,text,want", [
    ("a.csv", "", "a.csv: is empty"),
    ("a.csv", "x,y\n", "a.csv: is in no form that is known"),
    ("a.csv", "app,func,end_timestamp,duration\na,f,1,1\na,f,x,1\n", "a.csv: line 3: end_timestamp: "),
    ("a.csv", "app,func,end_timestamp,duration\na,f,1\n", "a.csv: line 2: column duration is missing"),
    ("a.csv", "HashOwner,HashApp,HashFunction,Trigger,1,2\no,a,f,http,1,-2\n", "a.csv: line 2: minute 2: "),
    ("a.log", '{"latency": 1}\n', "a.log: line 1: there is no time"),
    ("a.log", '{"latency": 1, "time": "x"}\n', "a.log: line 1: time: must be as in"),
    ("a.log", "# lull traffic 1\n12 f\n", "a.log: line 2: must be SECOND FUNCTION REQUESTS MILLISECONDS"),
    ("a.log", '{"a": 1}\n', "the files have no requests"),
    ("a.log", "LONG", "a.log: line 1: is longer than 1048576 bytes"),
])
def test_what_cannot_be_used_is_named(tmp_path, name, text, want):
    (tmp_path / name).write_text(text.replace("LONG", "{" + "x" * (1 << 20) + "\n"))
    assert want in simulate(name, status=1, cwd=tmp_path)


@pytest.mark.parametrize("setting,want", [
    ("a:windo=3s", 'a: there is no setting "windo" to simulate'), ("a:window=1s", "a: "), ("window=30s", "must be NAME:KEY=VALUE"),
    ("a:window", '"window" must be KEY=VALUE'), ("a:policy=x", "policy"), ("a:start-time=-1s", "start-time: must be a duration")])
def test_bad_settings_are_named(setting, want):
    assert want in simulate("--synthetic", 1, "--set", setting, status=1)
    assert "name files, or --synthetic" in simulate(status=2)


def test_better_settings_are_suggested(tmp_path):
    log = tmp_path / "traffic.log"
    log.write_text("# lull traffic 1\n" + "".join(f"{1700000000 + 900 * i} default/a-00001 1 100\n" for i in range(200)))
    present = ("--suggest", "--set", "present:scale-to-zero-pod-retention-period=9m")
    text = simulate(log, *present)
    assert "Fewer cold starts for no more replica time: histogram-" in text, text
    assert json.loads(simulate(log, *present, "-o", "json"))["suggested"]["fewerColdStarts"].startswith("histogram-")
    assert json.loads(simulate(log, "--suggest", "-o", "json"))["suggested"] == {}  # nothing costs less than no retention
