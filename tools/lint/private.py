# SPDX-License-Identifier: Apache-2.0
"""Fail on what only one machine knows: paths of a workplace, and URLs of hosts the project has no part in."""
import re

import lint

PATHS = re.compile(r"(?<![\w.$}])/(?:work/(?:main|shared|\.)|root/(?:wt|\.\w)|home/[a-z]\w*/)")
URLS = re.compile(r"https?://([\w.-]+\.(?:com|org|net|io|dev|sh|cloud))(?![\w.-])")
KNOWN = re.compile(r"(^|\.)(example\.(com|org|net)|apache\.org|w3\.org|spdx\.org|json-schema\.org|"
                   r"knative\.dev|kubernetes\.io|cloudevents\.io|rfc-editor\.org|ietf\.org)$")
root = lint.root_arg()
seen, bad = 0, []
for f in lint.files(root):
    seen += 1
    for n, l in enumerate(lint.text(f).splitlines(), 1):
        for m in PATHS.finditer(l):
            bad.append(f"{f.relative_to(root)}:{n}: a path of one machine: {m[0]}")
        for m in URLS.finditer(l):
            if not KNOWN.search(m[1]):
                bad.append(f"{f.relative_to(root)}:{n}: a foreign host: {m[1]}")
lint.finish(seen, bad)
