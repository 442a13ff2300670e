# SPDX-License-Identifier: Apache-2.0
"""Calls a web hook as GitHub does: send.py URL SECRET EVENT BODY. Prints the status of the answer."""
import hashlib
import hmac
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid

url, secret, event, body = sys.argv[1:]
signature = hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
parts = urllib.parse.urlsplit(url)  # names that end in .localhost are this machine, whatever DNS thinks
request = urllib.request.Request(f"http://127.0.0.1:{parts.port or 80}{parts.path}", body.encode(), {
    "Host": parts.netloc, "Content-Type": "application/json", "X-GitHub-Event": event, "X-GitHub-Delivery": str(uuid.uuid4()),
    "X-Hub-Signature-256": f"sha256={signature}"})
try:
    print(urllib.request.urlopen(request, timeout=30).status)
except urllib.error.HTTPError as refused:
    print(refused.code, refused.read().decode().strip())
