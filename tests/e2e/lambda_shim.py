"""A function URL on loopback for the example of AWS Lambda: turns requests into the events that Lambda would get.

`/hook` is the function URL. `/event` calls the function with the body itself, as an EventBridge rule does.
"""

import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aws_lambda

ONE_AT_A_TIME = threading.Lock()
"""As an instance of a function takes its calls."""


class FunctionUrl(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        given = json.loads(body) if self.path == "/event" else self._request(body)
        try:
            with ONE_AT_A_TIME:
                answer = aws_lambda.handler(given, None)
        except Exception as e:
            print(f"the function failed: {e!r}", file=sys.stderr, flush=True)
            answer = {"statusCode": 500 if self.path == "/event" else 502}
        text = answer.get("body", "").encode()
        self.send_response(answer.get("statusCode", 200))
        for name, value in answer.get("headers", {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _request(self, body: bytes) -> dict[str, object]:
        """Format 2.0, the body in base64 as it is for types that are no text."""
        return {
            "version": "2.0",
            "rawPath": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "requestContext": {"http": {"method": "POST", "path": self.path}},
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        }

    def log_message(self, *arguments: object) -> None:
        pass


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), FunctionUrl) as server:
        print(f"running on http://127.0.0.1:{server.server_port}", file=sys.stderr, flush=True)
        server.serve_forever()
