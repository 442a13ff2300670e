# SPDX-License-Identifier: Apache-2.0
"""A kubeconfig for a server of a test."""
import json
import os


def write(path, server, token="t"):
    """In one step: another program may be reading the one that is there."""
    new = path.with_name(f"{path.name}.{os.urandom(4).hex()}")
    new.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}))
    new.replace(path)
    return path
