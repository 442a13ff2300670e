# SPDX-License-Identifier: Apache-2.0
"""Run the stages of ./test, print a table of them and one closing line with the sums.

  ./test                 everything
  ./test --quick         lint, unit and the fast integration tests
  ./test --soak NAME     the long form NAME: tests/soak/NAME, else the pytest tests marked soak that match
  ./test --only A[,B]    single stages, in the order given
  ./test --list          the stages

CI=true makes warnings errors. LULL_NO_SETUP=1 skips tools/setup. A stage that cannot run here says
why and counts as skipped; a stage that ran no test has failed. Up to 3 failed tests of a stage (units, integration,
cluster) are tried once more, each alone; the table names those that needed it."""
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
CI = os.environ.get("CI") == "true"
FUZZ_SECONDS = int(os.environ.get("LULL_FUZZ_SECONDS", "30"))
SANITIZE = {"ASAN_OPTIONS": "detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
SKIP = 77
AGAIN_MAX = 3  # so many failed tests of a stage are tried a second time


class Stage:
    """What one stage found. A stage function fills it; `note` is shown in the table."""

    def __init__(self, name):
        self.name, self.passed, self.failed, self.skipped, self.note, self.seconds = name, 0, 0, 0, "", 0.0

    def fail(self, why):
        self.failed += 1
        self.note = self.note or why

    def skip(self, why):
        self.skipped += 1
        self.note = self.note or why
        print(f"skipped: {why}")


def run(args, timeout, env=None, capture=False):
    """Run a command in its own process group, which ends with it or at the deadline. → (code, output)"""
    print("$", *args, flush=True)
    proc = subprocess.Popen([str(a) for a in args], cwd=ROOT, env={**os.environ, **(env or {})},
                            stdin=subprocess.DEVNULL, start_new_session=True, text=True,
                            stdout=subprocess.PIPE if capture else None,
                            stderr=subprocess.STDOUT if capture else None)
    try:
        out, _ = proc.communicate(timeout=timeout)
        return proc.returncode, out or ""
    except subprocess.TimeoutExpired:
        print(f"ended after {timeout} s: {args[0]}")
        return 124, ""
    finally:  # also when we are interrupted; what has something to clean up gets the time for it
        if proc.poll() is None:
            proc.terminate()
            try:
                proc.wait(60)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(proc.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def build(stage, folder, *options, cc="gcc", targets=()):
    werror = "-Dwerror=true" if CI or cc != "gcc" else "-Dwerror=false"
    again = ["--reconfigure"] if (ROOT / folder / "build.ninja").is_file() else []
    code, out = run(["meson", "setup", *again, folder, werror, *options], 300, {"CC": cc}, capture=True)
    if code:
        print(out[-4000:])
        stage.fail(f"meson setup {folder}")
        return False
    code, out = run(["ninja", "-C", folder, *targets], 1800, capture=True)
    if code:
        print("\n".join(l for l in out.splitlines() if re.search("error|warning|FAILED|undefined", l))[-8000:])
        stage.fail(f"{folder} does not build")
    elif cc != "gcc" or CI:
        stage.passed += 1  # built without a warning
    return not code


def meson_test(stage, folder, suite, timeout, env=None):
    log = ROOT / folder / "meson-logs/testlog.json"
    words = {"OK": "good", "EXPECTEDFAIL": "good", "SKIP": "skipped"}

    def once(args, seconds):
        log.unlink(missing_ok=True)
        code, _ = run(["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs", "--timeout-multiplier", "4", *args], seconds, env)
        rows = [json.loads(l) for l in log.read_text().splitlines()] if log.is_file() else []
        found = [(r["name"].split(" / ", 1)[-1], words.get(r["result"], "bad")) for r in rows]
        return code, len(found), sum(w == "skipped" for _, w in found), [n for n, w in found if w == "bad"]

    code, total, skipped, failed = once(["--suite", f"lull:{suite}"], timeout)
    if not total or (code and not failed):
        return stage.fail(f"no test of suite {suite} ran" if not total else f"meson test exit {code}")
    if suite == "unit" and len(failed) <= AGAIN_MAX:
        failed = [name for name in failed if not passes_again(stage, name, lambda n: once([n], 600))]
    stage.skipped += skipped
    stage.failed += len(failed)
    stage.passed += total - skipped - len(failed)
    return None


def junit(report):
    """Of a pytest report: (tests, skipped, node ids of those that failed)."""
    if not report.is_file():
        return 0, 0, []
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    bad = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    names = [c.get("classname", "").replace(".", "/") + ".py::" + c.get("name", "") for c in bad]
    return len(cases), sum(c.find("skipped") is not None for c in cases), list(dict.fromkeys(names))


def pytest(stage, folder, marks, *more, timeout=1800, env=None, paths=("tests/integration",), again=True):
    report = ROOT / "build" / f"pytest-{stage.name}.xml"

    def once(args, seconds):
        report.unlink(missing_ok=True)
        code, _ = run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *args], seconds,
                      {"LULL_BUILD": str(ROOT / folder), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})})
        return (code, *junit(report))

    code, total, skipped, failed = once(["-m", marks, "--durations=10", *more, *paths], timeout)
    if not total or (code and not failed):
        return stage.fail(f"pytest ran no test with -m '{marks}'" if not total else f"pytest exit {code}")
    if again and len(failed) <= AGAIN_MAX:
        failed = [name for name in failed if not passes_again(stage, name, lambda n: once([n], 300))]
    stage.skipped += skipped
    stage.failed += len(failed)
    stage.passed += total - skipped - len(failed)
    return None


def passes_again(stage, name, once):
    """A busy machine can make a test of processes and deadlines miss. What fails is tried once more, alone; that it
    was needed is said in the table, for such a test is to be mended."""
    print(f"second try, alone: {name}")
    code, total, skipped, failed = once(name)
    good = code == 0 and total > skipped and not failed
    if good:
        stage.note = f"{stage.note}, {name}" if stage.note else f"UNSTEADY (passed at the second try): {name}"
    return good


def script(stage, args, timeout, env=None):
    """A script that says 'N passed, N failed[, N skipped]' itself, or is one test: 0 good, 77 skipped."""
    if not (ROOT / args[0]).is_file():
        return stage.skip(f"{args[0]} is not there")
    code, out = run(args, timeout, env, capture=True)
    print(out, end="", flush=True)
    unsteady = re.findall(r"^UNSTEADY (.*)$", out, re.M)
    if unsteady:
        stage.note = "UNSTEADY (passed at the second try): " + ", ".join(unsteady)
    sums = re.findall(r"^(?:\S+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", out, re.M)
    if code == SKIP:
        return stage.skip((out.strip().splitlines() or [f"{args[0]} skipped itself"])[-1])
    if sums:
        ran, bad, skipped = (int(n or 0) for n in sums[-1])
        stage.passed, stage.failed, stage.skipped = stage.passed + ran, stage.failed + bad, stage.skipped + skipped
        if code and not bad or not ran + bad + skipped:
            stage.fail(f"{args[0]}: exit {code}")
    elif code:
        stage.fail(f"{args[0]}: exit {code}")
    else:
        stage.passed += 1
    return None


# --- the stages -------------------------------------------------------------------------------


def stage_build(stage):
    build(stage, "build")


def stage_lint(stage):
    meson_test(stage, "build", "lint", 600)


def stage_unit(stage):
    meson_test(stage, "build", "unit", 1200)


def build_asan(stage):
    return build(stage, "build-asan", "-Db_sanitize=address,undefined", "-Db_lundef=false")


def stage_asan(stage):
    if build_asan(stage):
        meson_test(stage, "build-asan", "unit", 1800, SANITIZE)


def stage_integration(stage):
    pytest(stage, "build", "not soak and not clients", timeout=2400)


def stage_clients(stage):
    pytest(stage, "build", "clients and not soak", timeout=2400)


def stage_integration_quick(stage):
    pytest(stage, "build", "quick and not soak", timeout=600)


def stage_integration_asan(stage):
    if build_asan(stage):
        pytest(stage, "build-asan", "(quick or hostile) and not soak", timeout=1800, env=SANITIZE)


def stage_clang(stage):
    if build(stage, "build-clang", "-Db_lundef=false", cc="clang-14"):
        meson_test(stage, "build-clang", "unit", 1200)


def stage_static(stage):
    if build(stage, "build-static", "-Dstatic_queue_proxy=true", "-Dtests=false"):
        binary = ROOT / "build-static/queue-proxy/lull-queue-proxy"
        code, out = run(["readelf", "-d", binary], 60, capture=True)
        if code or "NEEDED" in out:
            stage.fail("lull-queue-proxy is not static")
        else:
            stage.passed += 1


def fuzz_one(target):
    found = ROOT / "build-fuzz/corpus" / target.name
    found.mkdir(parents=True, exist_ok=True)
    seeds = ROOT / "tests/fuzz/corpus" / target.name.removeprefix("fuzz_")
    return target, *run([target, f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=2048",
                         f"-artifact_prefix={found.parent}/{target.name}-", found, seeds],
                        FUZZ_SECONDS + 120, SANITIZE, capture=True)


def stage_fuzz(stage):
    if not build(stage, "build-fuzz", "-Dfuzz=true", "-Db_sanitize=address,undefined", "-Db_lundef=false",
                 cc="clang-14", targets=["fuzz-targets"]):
        return
    targets = sorted(p for p in (ROOT / "build-fuzz/tests/fuzz").glob("fuzz_*") if p.is_file())
    if not targets:
        stage.fail("no fuzz target")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for target, code, out in pool.map(fuzz_one, targets):
            runs = re.findall(r"^Done (\d+) runs", out, re.M)
            print(f"{target.name}: {runs[0] + ' runs' if runs else 'ended early'}")
            if code or not runs:
                print(out[-8000:])
                stage.fail(f"{target.name}: exit {code}")
            else:
                stage.passed += 1


def built_kubectl():
    """The kubectl that tests/cluster builds, and whether the integration tests found one."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    program = pathlib.Path(os.environ.get("KUBE_DIR", cache / "lull-kube")) / "bin/kubectl"
    return program, bool(os.environ.get("KUBECTL") or shutil.which("kubectl") or program.is_file())


KUBECTL, KUBECTL_WAS_THERE = built_kubectl()


def stage_cluster(stage):
    script(stage, ["tests/cluster/run"], 2700)
    if not KUBECTL_WAS_THERE and KUBECTL.is_file():  # the integration stage had to skip these
        pytest(stage, "build", "not soak", paths=["tests/integration/test_kubectl.py"])


def stage_setup(stage):
    script(stage, ["tests/setup/run"], 900)


def stage_bench(stage):
    script(stage, ["bench/run", "--short"], 600)


STAGES = {  # name: (function, what it is)
    "build": (stage_build, "gcc build into build/"),
    "lint": (stage_lint, "the lints"),
    "unit": (stage_unit, "cmocka units"),
    "quick": (stage_integration_quick, "the integration tests marked quick"),
    "integration": (stage_integration, "pytest on the real binaries"),
    "asan": (stage_asan, "units under ASan and UBSan"),
    "asan-integration": (stage_integration_asan, "the quick and the hostile integration tests under ASan and UBSan"),
    "clang": (stage_clang, "clang build with -Werror, units"),
    "static": (stage_static, "static lull-queue-proxy"),
    "fuzz": (stage_fuzz, f"each fuzz target for {FUZZ_SECONDS} s"),
    "bench": (stage_bench, "the benchmarks, small, to see that they run"),
    "setup": (stage_setup, "set-up and build in a new Debian 12 root"),
    "clients": (stage_clients, "clients of others that are built first"),
    "cluster": (stage_cluster, "a real Kubernetes cluster"),
}
QUICK = ["build", "lint", "unit", "quick"]
FULL = [s for s in STAGES if s != "quick"]


def soak(name):
    def stage_soak(stage):
        if (ROOT / "tests/soak" / name).is_file():
            script(stage, [f"tests/soak/{name}"], 24 * 3600, {"LULL_SOAK": "1"})
        else:
            pytest(stage, "build", "soak", "-s", "-k", name, timeout=24 * 3600, env={"LULL_SOAK": "1"}, again=False)
    return stage_soak


def report(stages):
    print(f"\n{'stage':<18}{'time':>8}{'passed':>8}{'failed':>8}{'skipped':>9}")
    for s in stages:
        print(f"{s.name:<18}{s.seconds:>7.0f}s{s.passed:>8}{s.failed:>8}{s.skipped:>9}  {s.note}")
    passed, failed, skipped = (sum(getattr(s, k) for s in stages) for k in ("passed", "failed", "skipped"))
    print(f"\nlull: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed else 0


def plan(args):
    if not args:
        return [(n, STAGES[n][0]) for n in FULL]
    if args == ["--quick"]:
        return [(n, STAGES[n][0]) for n in QUICK]
    if args[0] == "--soak" and len(args) == 2:
        return [("build", stage_build), (f"soak {args[1]}", soak(args[1]))]
    if args[0] == "--only" and len(args) == 2 and set(args[1].split(",")) <= set(STAGES):
        return [(n, STAGES[n][0]) for n in args[1].split(",")]
    if args == ["--list"]:
        print("\n".join(f"{n:<18}{what}" for n, (_, what) in STAGES.items()))
        sys.exit(0)
    print(__doc__)
    sys.exit(0 if args[0] in ("--help", "-h") else 2)


def main():
    stages = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    (ROOT / "build").mkdir(exist_ok=True)
    for name, function in plan(sys.argv[1:]):
        stage = Stage(name)
        stages.append(stage)
        print(f"\n=== {name} ===", flush=True)
        begun = time.monotonic()
        try:
            function(stage)
        except (OSError, ValueError, KeyError) as e:
            stage.fail(f"{type(e).__name__}: {e}")
        stage.seconds = time.monotonic() - begun
        if name == "build" and stage.failed:
            break
    return report(stages)


if __name__ == "__main__":
    sys.exit(main())
