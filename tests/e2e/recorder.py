"""A webhook receiver in a thread, for tests that block: it keeps what came, and answers the status it is told to."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any, NamedTuple

WAIT_S = 60.0


class Got(NamedTuple):
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


class Recorder:
    """Listens on a free port of loopback until it is closed."""

    def __init__(self) -> None:
        self.status = 204
        self.got: list[Got] = []
        self._came = Condition()
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                recorder.take(Got({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(recorder.status)
                if recorder.status != 204:
                    self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is logged."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def take(self, got: Got) -> None:
        with self._came:
            self.got.append(got)
            self._came.notify_all()

    def wait(self, count: int) -> list[Got]:
        """What came, once that is at least so many."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.got) >= count, WAIT_S), f"only {len(self.got)} came"
            return [*self.got]

    @property
    def bodies(self) -> list[bytes]:
        return [got.body for got in self.got]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(WAIT_S)
