# SPDX-License-Identifier: Apache-2.0
"""The controller is killed after its n-th write, whatever n: the next one brings everything to the same end."""
import copy
import difflib
import json
import shutil
import signal
import subprocess

import pytest
from conftest import binary, wait_for
from killing_proxy import KillingProxy
from test_agent import Node
from test_controller import DEPLOYMENTS, SERVICES, SERVING, is_ready

DIGEST = "b" * 64
AUTOSCALERS = "/apis/autoscaling.internal.knative.dev/v1alpha1/namespaces/default/podautoscalers"
LISTS = (SERVICES, f"{SERVING}/configurations", f"{SERVING}/routes", f"{SERVING}/revisions", DEPLOYMENTS, AUTOSCALERS,
         "/api/v1/namespaces/default/services")
TIMES_AND_IDS = ("uid", "creationTimestamp", "resourceVersion", "lastTransitionTime", "generation", "observedGeneration",
                 "managedFields", "selfLink", "serving.knative.dev/routingStateModified", "serving.knative.dev/revisionUID",
                 "serving.knative.dev/configurationUID", "serving.knative.dev/serviceUID", "kubectl.kubernetes.io/restartedAt")


class Kills(Node):
    """lull-local, and a controller behind a proxy that kills it."""

    def __init__(self, home):
        super().__init__(home)
        folder = home / "bundles" / f"sha256-{DIGEST}" / "files"
        self.bundle(DIGEST, ["./witness"], {})
        shutil.copy(binary("witness"), folder)
        self.start()
        self.proxy = KillingProxy(self.api)
        self.kubeconfig = self.proxy.kubeconfig(home / "through-proxy")
        self.controller = None

    def start_controller(self):
        admin = self.home / "controller.sock"
        admin.unlink(missing_ok=True)
        self.controller = subprocess.Popen(
            [binary("lull-controller"), "--kubeconfig", self.kubeconfig, "--admin-listen", f"unix:{admin}"],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        wait_for(lambda: admin.exists() or self.controller.poll() is not None, 20, "the controller's admin port")

    def end_controller(self):
        if self.controller is not None and self.controller.poll() is None:
            self.controller.kill()
        if self.controller is not None:
            self.controller.wait(timeout=20)

    def revive(self):
        """A new controller if it was killed."""
        if self.proxy.dead:
            self.controller.wait(timeout=20)
            self.proxy.arm(0, None)
            self.start_controller()
        return True

    def settle(self, name, revision):
        """The Service is ready with the revision, and everything below it says so too."""
        def settled():
            self.revive()
            found = {path: {o["metadata"]["name"]: o for o in self.api.list(path)} for path in LISTS}
            service = found[SERVICES].get(name)
            revisions = found[f"{SERVING}/revisions"]
            if service is None or not is_ready(service) or service["status"].get("latestReadyRevisionName") != revision:
                return None
            for old, obj in revisions.items():
                if not old.startswith(name + "-"):
                    continue
                used = obj["metadata"]["annotations"].get("serving.knative.dev/routes")
                routed = old in [t["revisionName"] for t in service["status"]["traffic"]]
                scaler = found[AUTOSCALERS].get(old, {}).get("spec", {}).get("reachability")
                state = obj["metadata"]["labels"]["serving.knative.dev/routingState"]
                if (used is not None) != routed or state != ("active" if routed else "reserve") or \
                        scaler != ("Reachable" if routed else "Unreachable"):
                    return None
            tags = {f"{t['tag']}-{name}" for t in service["status"]["traffic"] if "tag" in t}
            have = {n for n in found[LISTS[-1]] if n == name or n.endswith(f"-{name}")}
            return found if have == tags | {name} else None
        found = wait_for(settled, 60, f"{name} is settled at {revision}")
        return {path: {n.replace(name, "NAME"): picture(o, name) for n, o in objects.items() if belongs(n, name)}
                for path, objects in found.items()}

    def live(self, name, at):
        """Create, update, delete with a kill after the at-th write. → pictures of what there was, writes"""
        self.proxy.arm(at, self.controller_dies)
        self.end_controller()
        self.start_controller()
        spec = {"template": {"spec": {"containers": [{"image": f"dev.local/f@sha256:{DIGEST}"}]}},
                "traffic": [{"latestRevision": True, "percent": 100, "tag": "now"}]}
        self.api.create(SERVICES, {"metadata": {"name": name}, "spec": spec})
        pictures = [self.settle(name, f"{name}-00001")]
        spec = copy.deepcopy(spec)
        spec["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
        spec["traffic"] = [{"latestRevision": True, "percent": 100, "tag": "new"}]
        self.api.patch(f"{SERVICES}/{name}", {"spec": spec})
        pictures.append(self.settle(name, f"{name}-00002"))
        self.api.delete(f"{SERVICES}/{name}")
        wait_for(lambda: self.revive() and not any(belongs(o["metadata"]["name"], name) for path in LISTS
                                                   for o in self.api.list(path)), 60, f"nothing is left of {name}")
        return pictures, self.proxy.writes

    def controller_dies(self):
        self.controller.send_signal(signal.SIGKILL)


def belongs(object_name, name):
    return object_name == name or object_name.startswith(f"{name}-") or object_name.endswith(f"-{name}")


def picture(obj, name):
    """Without times, ids, replica counts and the name of the Service."""
    if isinstance(obj, dict):
        if obj.get("kind") == "Deployment":
            obj = {k: v for k, v in obj.items() if k != "status"}
        return {k: conditions(v) if k == "conditions" else picture(v, name) for k, v in obj.items()
                if k not in TIMES_AND_IDS and not k.endswith(("eplicas", "Scale"))}
    if isinstance(obj, list):
        return [picture(v, name) for v in obj]
    return obj.replace(name, "NAME") if isinstance(obj, str) else obj


def conditions(listed):
    return [(c["type"], c["status"], c.get("reason")) for c in listed if c["type"] != "Active"]


def lines(pictures):
    return json.dumps(pictures, indent=1, sort_keys=True).splitlines()


@pytest.fixture
def kills(home):
    it = Kills(home)
    try:
        yield it
    finally:
        it.end_controller()
        it.proxy.shutdown()
        it.kill(signal.SIGTERM)
        print((home / "out").read_text()[-4000:])


def run(kills, step):
    want, writes = kills.live("whole", 0)
    assert writes > 20, writes
    for at in range(1, writes + 1, step):
        got, _ = kills.live(f"k{at:03}", at)
        changes = [line for line in difflib.unified_diff(lines(want), lines(got), "whole", "killed", n=6)]
        assert not changes, "\n".join([f"killed after write {at} of {writes}:", *changes])
    return writes


def test_killed_after_some_writes(kills):
    run(kills, 10)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_kills_after_every_write(kills):
    print(f"killed after each of {run(kills, 1)} writes of a create, an update and a delete: the same result")
