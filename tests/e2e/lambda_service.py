"""AWS Lambda on loopback: one instance of a function as a process, the runtime API that feeds it, and the poller
that takes messages from a queue to it (an event source mapping with ReportBatchItemFailures).

How the function is packaged is the test's: a folder, and the name of the handler in it.
"""

import json
import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.e2e.processes import WAIT_S, Program, environment

BOOTSTRAP = Path(__file__).with_name("lambda_bootstrap.py")
TIMEOUT_S = 10.0
"""The function's own timeout."""


class FunctionError(Exception):
    """The handler raised: its errorType and errorMessage."""


class LambdaService:
    """One function instance, which takes one invocation at a time."""

    def __init__(self) -> None:
        self._asked: queue.Queue[tuple[str, float, Any] | None] = queue.Queue()
        self._answers: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._number = 0
        service = self

        class Api(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                assert self.path == "/2018-06-01/runtime/invocation/next"
                asked = service._asked.get()
                if asked is None:
                    self._answer(410, b"null", {})
                    return
                request_id, timeout_s, event = asked
                deadline = int((time.time() + timeout_s) * 1000)
                headers = {
                    "Lambda-Runtime-Aws-Request-Id": request_id,
                    "Lambda-Runtime-Deadline-Ms": str(deadline),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:f",
                }
                self._answer(200, json.dumps(event).encode(), headers)

            def do_POST(self) -> None:
                result = json.loads(self.rfile.read(int(self.headers["content-length"])))
                service._answers.put((self.path.rpartition("/")[2], result))
                self._answer(202, b"", {})

            def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def start(self, folder: Path, handler: str, settings: dict[str, str]) -> None:
        """The instance: Python without any package but what is in `folder`."""
        env = environment(**settings) | {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}",
            "LAMBDA_TASK_ROOT": str(folder),
            "_HANDLER": handler,
        }
        self.instance = Program(["-I", "-S", str(BOOTSTRAP)], folder, env, Path(sys.executable))

    def invoke(self, event: Any, timeout_s: float = TIMEOUT_S) -> Any:
        """What the handler returned. Raises `FunctionError`."""
        self._number += 1
        self._asked.put((f"request-{self._number}", timeout_s, event))
        kind, result = self._answers.get(timeout=WAIT_S)
        if kind == "error":
            raise FunctionError(f"{result['errorType']}: {result['errorMessage']}")
        return result

    def poll(self, sqs: Any, queue_url: str, timeout_s: float = TIMEOUT_S) -> tuple[int, list[str]]:
        """One batch from a queue through the function. What is not named as failed is deleted; returns how many
        came, and the bodies of those that failed and come again."""
        taken = records(sqs, queue_url)
        if not taken:
            return 0, []
        failures = self.invoke({"Records": taken}, timeout_s)["batchItemFailures"]
        failed = {failure["itemIdentifier"] for failure in failures}
        assert failed <= {record["messageId"] for record in taken}
        for record in taken:
            if record["messageId"] not in failed:
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=record["receiptHandle"])
        return len(taken), [record["body"] for record in taken if record["messageId"] in failed]

    def close(self) -> None:
        self._asked.put(None)
        instance = getattr(self, "instance", None)
        if instance is not None:
            instance.end()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def records(sqs: Any, queue_url: str) -> list[dict[str, Any]]:
    """One receive from a queue, as Lambda hands it over."""
    arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    taken = sqs.receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
    ).get("Messages", [])
    return [
        {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message.get("Attributes", {}),
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": arn,
            "awsRegion": "us-east-1",
        }
        for message in taken
    ]


@contextmanager
def running(folder: Path, handler: str, settings: dict[str, str]) -> Iterator[LambdaService]:
    service = LambdaService()
    try:
        service.start(folder, handler, settings)
        yield service
    finally:
        service.close()
