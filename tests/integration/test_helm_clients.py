# SPDX-License-Identifier: Apache-2.0
"""`./test --soak clients`: a Helm chart with a Service of ours, rendered by the real helm and applied by kubectl and by lull."""
import os
import pathlib
import shutil
import subprocess

import go_program
import pytest
from conftest import ROOT, binary

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
HELM = "helm.sh/helm/v3/cmd/helm@v3.22.0"
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: greeter\nversion: 0.1.0\n",
    "values.yaml": "image: \"\"\ntarget: world\nreplicas: {min: 0, max: 3}\n",
    "templates/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-settings\n"
                             "  labels: {app: {{ .Chart.Name }}}\ndata:\n  TARGET: {{ .Values.target | quote }}\n",
    "templates/service.yaml": """apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: {{ .Release.Name }}
  labels: {app: {{ .Chart.Name }}}
spec:
  template:
    metadata:
      annotations:
        autoscaling.knative.dev/min-scale: {{ .Values.replicas.min | quote }}
        autoscaling.knative.dev/max-scale: {{ .Values.replicas.max | quote }}
    spec:
      containers:
      - image: {{ .Values.image }}
        envFrom:
        - configMapRef: {name: {{ .Release.Name }}-settings}
""",
}


@pytest.fixture(scope="module")
def helm():
    found = os.environ.get("HELM") or shutil.which("helm")
    if found:
        return found
    version = go_program.need_go([1, 25])

    def build(made):
        got = go_program.go("install", "-p", "2", "-trimpath", "-ldflags", "-s -w", HELM, timeout=3000, GOBIN=str(made.parent))
        if got.returncode:
            pytest.skip(f"helm cannot be had: {got.stderr.strip()[-300:]}")
        made.parent.joinpath("helm").rename(made)

    return go_program.once("helm", f"{HELM} {version}".encode(), build)


def test_helm_template_is_applied(helm, lull, tmp_path):
    kubectl = shutil.which("kubectl") or pathlib.Path.home() / ".cache/lull-kube/bin/kubectl"
    lull.cli("deploy", "base", "--source", ROOT / "examples/hello-c")
    image = lull.json("get", "ksvc", "base")["spec"]["template"]["spec"]["containers"][0]["image"]
    for name, text in CHART.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def rendered(target):
        return subprocess.run([helm, "template", "greeter", tmp_path, "--set", f"image={image},target={target}"], text=True,
                              capture_output=True, timeout=120, check=True, env={**os.environ, "HOME": str(tmp_path)}).stdout

    def applied(program, text, *more):
        got = subprocess.run([program, *more, "apply", "-f", "-"], input=text, text=True, capture_output=True, timeout=120,
                             check=False, env={**lull.env(), "KUBECONFIG": str(lull.home / "kubeconfig")})
        assert got.returncode == 0, got.stderr
        return got.stdout

    from conftest import binary
    programs = ([kubectl] if pathlib.Path(kubectl).is_file() else []) + [binary("lull")]
    for n, program in enumerate(programs):
        assert ("created" if n == 0 else "configured") in applied(program, rendered(f"chart-{n}"))
        lull.cli("env", "greeter", "set", f"ROUND={n}")
        assert lull.get("greeter").text == f"Hello from C, chart-{n}!\n"
    assert "unchanged" in applied(programs[-1], rendered(f"chart-{len(programs) - 1}"))
