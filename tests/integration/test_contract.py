# SPDX-License-Identifier: Apache-2.0
"""The contract of tests/lib/contract.py on the API server of one machine, without a node agent's work."""
import pytest
from conftest import state_directory
from contract import *  # noqa: F403
from test_api import Local


@pytest.fixture(scope="module")
def server():
    with state_directory() as home:
        it = Local(home)
        yield it.api
        it.kill()
