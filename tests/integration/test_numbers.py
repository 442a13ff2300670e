# SPDX-License-Identifier: Apache-2.0
"""The whole of one machine: a real cold start in phases, and the request log that config-observability turns on."""
import json

from lull_client import wait_for
from test_activator_numbers import PHASES, timing


def test_a_cold_start_and_its_lines(lull, examples):
    def read():
        told = [json.loads(line) for line in (lull.home / "logs" / "controller.log").read_text().splitlines()]
        return len([x for x in told if x.get("name") == "config-observability"])
    before = read()
    lull.api().patch("/api/v1/namespaces/lull-system/configmaps/config-observability",
                     {"data": {"logging.enable-request-log": "true",
                               "logging.request-log-template": '{"to": "{{.Revision.Name}}", "url": "{{.Request.URL}}"}'}})
    wait_for(lambda: read() > before, 20, "the controller has read it")
    lull.cli("deploy", "hello", "--source", examples / "hello-c")
    lull.wait_zero("hello")
    answer = lull.get("hello", "/cold")
    assert answer.status == 200
    phases = timing(answer)
    assert tuple(phases) == PHASES
    parts = phases["decide"] + phases["start"] + phases["probe"]
    assert 0 < parts <= phases["queue"] + 0.01
    assert phases["decide"] > 0
    assert lull.get("hello", "/warm").status == 200

    def lines():
        got = []
        for log in (lull.home / "replicas").glob("*/proxy.log"):
            texts = [line.split(" ", 3)[-1] for line in log.read_text().splitlines()]  # TIME STREAM F TEXT
            got += [json.loads(text) for text in texts if text.startswith('{"to"')]
        return got
    wait_for(lambda: {"to": "hello-00001", "url": "/warm"} in lines(), 20, "the line of the second request")
    assert {"to": "hello-00001", "url": "/cold"} in lines()
