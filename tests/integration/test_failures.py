# SPDX-License-Identifier: Apache-2.0
"""What fails is told in the status of Revision, Configuration and Service, and by Events, with what to do."""
import pytest
from conftest import running_lull, wait_for

SERVING = "/apis/serving.knative.dev/v1/namespaces/default"


@pytest.fixture(scope="module")
def lull():
    with running_lull("--max-memory", "8Gi") as it:
        yield it


def ready(lull, kind, name):
    answer = lull.api().request("GET", f"{SERVING}/{kind}/{name}")
    got = answer.json() if answer.status == 200 else {}  # it may still be on its way
    return {c["type"]: c for c in got.get("status", {}).get("conditions", [])}


def wait_told(lull, name, condition, status, reason, words, deadline=60):
    """In the Revision's condition and the Configuration's and Service's Ready."""
    seen = {}

    def told():
        seen.update(revision=ready(lull, "revisions", f"{name}-00001"), service=ready(lull, "services", name),
                    configuration=ready(lull, "configurations", name))
        own = seen["revision"].get(condition, {})
        return own.get("status") == status and own.get("reason") == reason and words in own.get("message", "") and \
            all(words in seen[k].get("Ready", {}).get("message", "") and seen[k]["Ready"]["status"] == status
                for k in ("service", "configuration"))

    try:
        wait_for(told, deadline, f"{reason}: {words}")
    except AssertionError as e:
        raise AssertionError(f"{e}: {seen}") from None
    wait_for(lambda: [e for e in lull.api().list("/api/v1/namespaces/default/events",
                                                 fieldSelector=f"involvedObject.name={name}-00001")
                      if e["type"] == "Warning" and words in e["message"]], 20, f"an Event with {words}")


def create(lull, name, **container):
    annotations = container.pop("annotations", {})
    lull.api().create(f"{SERVING}/services", {"metadata": {"name": name}, "spec": {"template": {
        "metadata": {"annotations": annotations}, "spec": {"containers": [container]}}}})


def deploy(lull, name, script):
    """A function of one shell script; the command comes back before it is ready."""
    lull.cli("deploy", name, "--no-wait", "--", "sh", "-c", script)


def image_of(lull, name):
    return lull.api().get(f"{SERVING}/services/{name}")["spec"]["template"]["spec"]["containers"][0]["image"]


def test_no_such_image(lull):
    image = f"dev.local/none@sha256:{'e' * 64}"
    create(lull, "none", image=image)
    wait_told(lull, "none", "ContainerHealthy", "False", "ContainerMissing", "deploy the function again")
    assert ready(lull, "revisions", "none-00001")["ContainerHealthy"]["message"].startswith(
        f'Unable to fetch image "{image}": ')


def test_no_such_command(lull):
    deploy(lull, "other", "exec sleep 1000")
    create(lull, "nocmd", image=image_of(lull, "other"), command=["/no/such/program", "x"])
    wait_told(lull, "nocmd", "ContainerHealthy", "False", "ContainerMissing", "cannot execute /no/such/program")


def test_it_ends_with_a_last_line(lull):
    deploy(lull, "ends", "echo starting; echo 'no database at 10.0.0.7' >&2; exit 3")
    wait_told(lull, "ends", "ContainerHealthy", "False", "ExitCode3", "Container failed with: no database at 10.0.0.7")
    # It stays told, also while the node waits before it starts it again.
    def pod():
        return lull.replicas("ends")[0]["status"]["containerStatuses"][0]
    wait_for(lambda: pod()["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff", 30, "the back-off")
    assert ready(lull, "revisions", "ends-00001")["ContainerHealthy"]["reason"] == "ExitCode3"


def test_it_never_listens(lull):
    deploy(lull, "sleeper", "exec sleep 1000")
    create(lull, "mute", image=image_of(lull, "sleeper"), annotations={"serving.knative.dev/progress-deadline": "30s"})
    wait_told(lull, "mute", "ResourcesAvailable", "Unknown", "NotListening",
              "The container runs, but nothing listens on the port in $PORT yet")
    wait_told(lull, "mute", "ResourcesAvailable", "False", "ProgressDeadlineExceeded", "nothing listens on the port in $PORT")


def test_no_room(lull):
    deploy(lull, "huge", "exec sleep 1000")
    create(lull, "big", image=image_of(lull, "huge"), resources={"requests": {"memory": "64Gi"}})
    wait_told(lull, "big", "ResourcesAvailable", "False", "Unschedulable", "needs 65536 MiB")
    assert "of 8192 MiB are taken (--max-memory)" in ready(lull, "revisions", "big-00001")["ResourcesAvailable"]["message"]


def test_it_runs_out_of_memory(lull):
    eat = "import time\nx = []\nwhile True:\n    x.append(bytearray(1 << 20))\n"
    deploy(lull, "eater", "exec sleep 1000")
    create(lull, "hungry", image=image_of(lull, "eater"), command=["python3", "-c", eat],
           resources={"limits": {"memory": "96Mi"}})
    wait_told(lull, "hungry", "ContainerHealthy", "False", "ExitCode1", "out of memory: its limit is 96 MiB")
    status = wait_for(lambda: [s for s in lull.replicas("hungry")[0]["status"]["containerStatuses"]
                               if s["name"] == "user-container" and "terminated" in s.get("lastState", {})], 30, "its end")
    assert status[0]["lastState"]["terminated"]["reason"] == "OOMKilled"
