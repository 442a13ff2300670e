# SPDX-License-Identifier: Apache-2.0
"""A function that speaks gRPC, as a program: `grpc_function.py PORT`. Methods of /t.Echo: `Unary` answers what it got,
with metadata before and behind; `Fail` ends with a status of its own; `Stream` answers what comes, one by one;
`Wait` answers never. The health service knows `echo`, which serves from the third question on. Every call, and how it ended, is a line on standard output."""
import sys
import threading
import time
from concurrent import futures

import grpc


def say(*words):
    print(*words, flush=True)


def unary(request, context):
    context.send_initial_metadata((("x-first", "1"),))
    context.set_trailing_metadata((("x-last", "2"),))
    say("unary", len(request), dict(context.invocation_metadata()).get("x-ask", ""))
    return request


def fail(request, context):
    context.set_trailing_metadata((("x-last", "3"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: 100 % sure")


def stream(requests, context):
    for request in requests:
        yield request


def wait(request, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    say("waits")
    gone.wait(60)
    say("ended", "cancelled" if not context.is_active() else "still active")
    return b""


asked = []


def check(request, context):
    asked.append(request)
    say("check", request.hex())
    if request != b"\x0a\x04echo":
        context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
    return b"\x08\x01" if asked.count(request) > 2 else b"\x08\x02"


class Echo(grpc.GenericRpcHandler):
    def service(self, call):
        return {
            "/t.Echo/Unary": grpc.unary_unary_rpc_method_handler(unary),
            "/t.Echo/Fail": grpc.unary_unary_rpc_method_handler(fail),
            "/t.Echo/Stream": grpc.stream_stream_rpc_method_handler(stream),
            "/grpc.health.v1.Health/Check": grpc.unary_unary_rpc_method_handler(check),
            "/t.Echo/Wait": grpc.unary_unary_rpc_method_handler(wait),
        }.get(call.method)


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    say("listens", port)
    while True:
        time.sleep(60)


main()
