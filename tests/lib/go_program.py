# SPDX-License-Identifier: Apache-2.0
"""Programs of other clients for tests: made once, kept in ~/.cache/lull-clients by what they are made of."""
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess

import pytest

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "lull-clients"


def go(*args, timeout, cwd=None, **env):
    return subprocess.run(["go", *args], cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False,
                          stdin=subprocess.DEVNULL,
                          env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "CGO_ENABLED": "0", **env})


def need_go(least):
    """Skip the test where there is no Go, or an older one than the program needs."""
    if shutil.which("go") is None:
        pytest.skip("there is no Go to build the client with")
    version = go("env", "GOVERSION", timeout=60).stdout.strip().removeprefix("go")
    if [int(n) for n in re.findall(r"\d+", version)[:2]] < least:
        pytest.skip(f"Go {'.'.join(map(str, least))} or newer is needed; found {version or 'none'}")
    return version


def once(name, key, build):
    """The program (or folder) `name` for this key: what build(path) made, now or at an earlier time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / f"{name}-{hashlib.sha256(key).hexdigest()[:16]}"
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            for old in CACHE.glob(f"{name}-*"):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
            made = path.with_suffix(".new")
            build(made)
            made.rename(path)
    return path


def from_folder(name, folder, least):
    """Build the module in this folder; modules that cannot be had skip the test, an error in it fails."""
    version = need_go(least)
    sources = sorted(p for p in folder.iterdir() if p.suffix in (".go", ".mod", ".sum"))
    key = version.encode() + b"".join(p.read_bytes() for p in sources)

    def build(made):
        got = go("mod", "download", timeout=600, cwd=folder)
        if got.returncode:
            pytest.skip(f"its Go modules cannot be had: {got.stderr.strip()[-300:]}")
        got = go("build", "-p", "2", "-mod=readonly", "-trimpath", "-ldflags", "-s -w", "-o", str(made), ".", timeout=1500, cwd=folder)
        assert got.returncode == 0, got.stderr

    return once(name, key, build)
