# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the cluster tests, and a dump of the cluster when one fails.

tests/cluster/run starts the cluster, brings the images to it and calls pytest."""

import contextlib
import os
import re
import socket
import subprocess
import time

import pytest

from cluster import (KUBECTL, REDIS_IMAGE, TAG, Ingress, configure, dump, get, kubectl, listens, lull_at, volume,
                     wait_for)

QUICK_WINDOWS = {"allow-unsafe-windows": "true", "stable-window": "2s", "scale-to-zero-grace-period": "0s"}


@pytest.fixture(scope="session")
def installed():
    """Lull on the cluster, with events where there is a Redis, and with windows that suit a test."""
    begin = time.monotonic()
    events = []
    if REDIS_IMAGE:
        volume("data-lull-redis-0")
        events = ["--events-redis", "builtin", "--redis-image", REDIS_IMAGE]
    done = lull_at("install", "--tag", TAG, *events)
    configure("config-autoscaler", QUICK_WINDOWS)
    configure("config-domain", {"example.com": ""})
    print(f"\ninstalled, every part ready after {time.monotonic() - begin:.1f} s")
    return done


@contextlib.contextmanager
def reach(name, to=80):
    """An Ingress to a port of a Service of the system: by its address where that leads somewhere."""
    if os.environ.get("LULL_CLUSTER_INSIDE"):
        yield Ingress(get("-n", "lull-system", "service", name)["spec"]["clusterIP"], to)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    forward = subprocess.Popen(
        [*KUBECTL, "-n", "lull-system", "port-forward", f"service/{name}", f"{port}:{to}"],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for("port-forward listens", lambda: listens(port))
        yield Ingress("127.0.0.1", port)
    finally:
        forward.terminate()
        forward.wait()


@pytest.fixture(scope="session")
def ingress(installed):
    """The public listener."""
    with reach("lull-activator") as it:
        yield it


@pytest.fixture(scope="session")
def local_ingress(installed):
    """The cluster-local listener."""
    with reach("lull-activator-local") as it:
        yield it


@pytest.fixture(scope="session")
def broker_ingress(installed):
    """Where events are sent."""
    if not REDIS_IMAGE:
        pytest.skip("no redis-server here to make an image of")
    with reach("broker-ingress") as it:
        yield it


@pytest.fixture
def namespace(request):
    """A namespace of the test's own, taken away afterwards with everything in it."""
    name = re.sub("[^a-z0-9]+", "-", f"t{os.getpid()}-{request.node.name}".lower())[:50].rstrip("-")
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def pytest_collection_modifyitems(items):
    """What looks at the kinds as the API server alone treats them comes before Lull is installed, with its webhook."""
    items.sort(key=lambda item: not {"crds", "server"} & set(item.fixturenames) or "installed" in item.fixturenames)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    item.failed = getattr(item, "failed", False) or report.failed
    if report.failed and report.when in ("setup", "call"):
        try:
            report.sections.append(("the cluster when it failed", dump()))
        except Exception as error:  # the dump must not hide the failure
            report.sections.append(("the cluster when it failed", f"no dump: {error}"))
