"""A Python runtime of AWS Lambda, as a process: asks the runtime API for invocations and calls the handler.

It does what Amazon's own does: `_HANDLER` names the function, `LAMBDA_TASK_ROOT` its folder, `AWS_LAMBDA_RUNTIME_API`
the service. Started with `-I -S`, nothing but the standard library and that folder can be imported.
"""

import http.client
import importlib
import json
import os
import sys
import time

RUNTIME = "/2018-06-01/runtime"


class Context:
    """What a handler gets beside its event."""

    def __init__(self, request_id: str, deadline_ms: int) -> None:
        self.aws_request_id = request_id
        self._deadline_ms = deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self._deadline_ms - int(time.time() * 1000))


def main() -> None:
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    module, _, name = os.environ["_HANDLER"].rpartition(".")
    handler = getattr(importlib.import_module(module), name)
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        api.request("GET", f"{RUNTIME}/invocation/next")
        answer = api.getresponse()
        event = json.loads(answer.read())
        if answer.status != 200:
            return
        request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        context = Context(request_id, int(answer.headers["Lambda-Runtime-Deadline-Ms"]))
        try:
            kind, result = "response", handler(event, context)
        except Exception as e:
            kind, result = "error", {"errorType": type(e).__name__, "errorMessage": str(e)}
        api.request("POST", f"{RUNTIME}/invocation/{request_id}/{kind}", json.dumps(result).encode())
        api.getresponse().read()


if __name__ == "__main__":
    main()
