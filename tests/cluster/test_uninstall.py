# SPDX-License-Identifier: Apache-2.0
"""deploy/install --remove takes everything away again. Runs last."""

import shlex

from cluster import KUBECTL, ROOT, apply, get, hello, kubectl, run, wait_for, wait_ready


def test_knative_itself_is_left_alone(installed):
    label = "app.kubernetes.io/part-of"
    crd = "crd/services.serving.knative.dev"
    kubectl("label", "--overwrite", crd, f"{label}=knative-serving")
    try:
        for options in ([], ["--remove"]):
            done = run(str(ROOT / "deploy/install"), "--kubectl", shlex.join(KUBECTL), *options,
                       check=False)
            assert done.returncode == 1 and "not Lull's" in done.stderr, done
    finally:
        kubectl("label", "--overwrite", crd, f"{label}=lull")


def test_nothing_was_refused_to_a_part(installed):
    """Least privilege is enough: no part was told by the API server that it may not."""
    for pod in get("-n", "lull-system", "pods")["items"]:
        said = kubectl("-n", "lull-system", "logs", pod["metadata"]["name"])
        assert "is forbidden: User" not in said, said[-2000:]


def test_remove_leaves_nothing(installed, namespace):
    apply(hello(namespace, annotations={"autoscaling.knative.dev/min-scale": "1"}))
    wait_ready(namespace)
    run(str(ROOT / "deploy/install"), "--kubectl", shlex.join(KUBECTL), "--remove", timeout=180)
    wait_for("no Deployment and no Pod of the function is left", lambda: not any(
        get("-n", namespace, kind)["items"] for kind in ("deployments", "pods")), 60)
    wait_for("the namespace is gone", lambda: get("namespace", "lull-system") is None, 60)
    left = kubectl("get", "crd,clusterrole,clusterrolebinding", "-o", "name")
    assert "knative" not in left and "lull" not in left, left
