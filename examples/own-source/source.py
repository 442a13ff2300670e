# SPDX-License-Identifier: Apache-2.0
"""A source of one's own: says how much room the disk has, as an event, to whoever K_SINK names."""
import json
import os
import shutil
import time
import urllib.error
import urllib.request
import uuid

SINK = os.environ["K_SINK"]
MORE = json.loads(os.environ.get("K_CE_OVERRIDES") or "{}").get("extensions", {})


def send(kind, data):
    """Until somebody has taken it: the same id each time, so that it can be told from another one."""
    headers = {"ce-specversion": "1.0", "ce-id": str(uuid.uuid4()), "ce-source": f"/disks/{os.uname().nodename}", "ce-type": kind,
               "Content-Type": "application/json", **{f"ce-{name}": value for name, value in MORE.items()}}
    wait = 0.2
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(SINK, json.dumps(data).encode(), headers), timeout=30).close()
            return
        except urllib.error.HTTPError as answer:
            if answer.code < 500 and answer.code not in (404, 408, 409, 429):
                raise  # it will never be taken
            wait = float(answer.headers.get("Retry-After") or wait)
        except OSError:
            pass  # nobody is there yet
        time.sleep(wait)
        wait = min(2 * wait, 30)


for _ in range(int(os.environ.get("ROUNDS", "1"))):
    send("disk.free", {"bytes": shutil.disk_usage("/").free})
print("told")
