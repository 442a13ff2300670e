# SPDX-License-Identifier: Apache-2.0
"""again.py PYTEST ARGS: the cluster tests; up to 3 that failed are tried once more, each alone, as ./test does it with the
others. What passes then is named as UNSTEADY. The last line has the sums."""
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from run_tests import AGAIN_MAX, junit  # noqa: E402


def once(args, report):
    report.unlink(missing_ok=True)
    code = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestConfigWarning", "-s",
                           f"--junitxml={report}", f"--rootdir={ROOT}", *args], cwd=ROOT, check=False).returncode
    return (code, *junit(report))


def main():
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.xml"
        code, total, skipped, failed = once(sys.argv[1:], report)
        if code and not failed:  # interrupted, no test selected, …
            return code
        unsteady = []
        for name in failed if len(failed) <= AGAIN_MAX else []:
            print(f"\nsecond try, alone: {name}", flush=True)
            again, ran, left_out, bad = once([name], report)
            if again == 0 and ran > left_out and not bad:
                unsteady.append(name)
        failed = [name for name in failed if name not in unsteady]
        for name in unsteady:
            print(f"UNSTEADY {name}")
        print(f"cluster: {total - skipped - len(failed)} passed, {len(failed)} failed, {skipped} skipped")
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
