# SPDX-License-Identifier: Apache-2.0
"""The contract of tests/lib/contract.py on the API server of one machine, without a node agent's work."""
import os
import pathlib
import shutil
import tempfile

import pytest
from contract import *  # noqa: F403
from test_api import Local


@pytest.fixture(scope="module")
def server():
    home = pathlib.Path(tempfile.mkdtemp(prefix="lull-", dir="/tmp"))
    os.chmod(home, 0o711)
    it = Local(home)
    yield it.api
    it.kill()
    shutil.rmtree(home, ignore_errors=True)
