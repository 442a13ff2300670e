#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One request on stdin, one answer on stdout; the log goes to stderr.
IFS=' ' read -r method path version
length=0
while IFS= read -r line; do
    line=$(printf '%s' "$line" | tr -d '\r')
    [ -n "$line" ] || break
    case $line in
    [Cc]ontent-[Ll]ength:*) length=$(printf '%s' "${line#*:}" | tr -dc 0-9) ;;
    esac
done
[ "$length" -eq 0 ] || head -c "$length" >/dev/null
echo "$method $path" >&2
body="Hello from a shell script, ${TARGET:-world}!
"
printf 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' \
    "${#body}" "$body"
