# SPDX-License-Identifier: Apache-2.0
"""The large forms of the hostile tests: ./test --soak dataplane."""
import os

import hostile_storms as storms
import pytest
from hostile import ActivatorTarget, ChainTarget, QueueTarget, raise_descriptors
from test_hostile_framing import Lab, run_lab
from test_hostile_limits import make

pytestmark = [pytest.mark.soak, pytest.mark.dataplane, pytest.mark.timeout(7200)]
KINDS = pytest.mark.parametrize("kind", [QueueTarget, ActivatorTarget], ids=lambda k: k.name)
ALL = pytest.mark.parametrize("kind", [QueueTarget, ActivatorTarget, ChainTarget], ids=lambda k: k.name)


def with_target(it, scenario):
    try:
        it.run(scenario(it))
    finally:
        it.stop()


@pytest.fixture(autouse=True)
def descriptors():
    raise_descriptors()


@KINDS
def test_slowloris_of_ten_thousand(kind):
    with_target(make(kind, head="30s"), lambda t: storms.slowloris(t, 10_000, 30))


@KINDS
def test_fifteen_thousand_say_nothing(kind):
    with_target(make(kind, head="30s"), lambda t: storms.connect_and_idle(t, 14_500, 30))


@KINDS
def test_fifteen_thousand_kept(kind):
    with_target(kind(), lambda t: storms.kept_and_idle(t, 14_500))


@KINDS
def test_a_thousand_slow_bodies(kind):
    with_target(make(kind, body="10s"), lambda t: storms.slow_bodies(t, 1000))


@ALL
def test_a_gigabyte_to_a_slow_reader(kind):
    with_target(kind(), lambda t: storms.large_answer(t, 2 ** 30))


@ALL
def test_resets_in_answers(kind):
    with_target(kind(), lambda t: storms.reset_in_answers(t, 20_000))


def test_a_hundred_thousand_aborts_while_held():
    with_target(ActivatorTarget(replica=False), lambda t: storms.abort_while_parked(t, int(os.environ.get("LULL_ABORTS", "100000")), 1000))


@ALL
def test_mutations_for_ten_minutes(kind):
    it = kind()
    try:
        run_lab(it, Lab, 600)
    finally:
        it.stop()
