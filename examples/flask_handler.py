"""A webhook handler on Flask: keeps each event once, answers, and asks the API afterwards."""

import json
import os

from flask import Flask, Response, request

import buy_with_prime
from inbox import Inbox


def handle(event: dict) -> None:
    """Here your own work begins."""
    print(json.dumps(buy_with_prime.learn(event)), flush=True)


app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024
inbox = Inbox(os.environ.get("INBOX", "inbox.db"), handle)


@app.post("/hook")
def hook() -> Response:
    if not buy_with_prime.is_authorized(request.headers.get("authorization")):
        return Response(status=401, headers={"www-authenticate": "Basic"})
    try:
        event = buy_with_prime.parse(request.get_data())
    except ValueError as e:
        return Response(str(e), 400)
    inbox.put(event)
    return Response(status=204)
