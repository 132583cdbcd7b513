"""A webhook handler on FastAPI: keeps each event once, answers, and asks the API afterwards."""

import json
import os

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

import buy_with_prime
from inbox import Inbox

LARGEST = 1024 * 1024


def handle(event: dict) -> None:
    """Here your own work begins."""
    print(json.dumps(buy_with_prime.learn(event)), flush=True)


app = FastAPI()
inbox = Inbox(os.environ.get("INBOX", "inbox.db"), handle)


@app.post("/hook")
async def hook(request: Request) -> Response:
    if not buy_with_prime.is_authorized(request.headers.get("authorization")):
        return Response(status_code=401, headers={"www-authenticate": "Basic"})
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            return Response(status_code=413)
    try:
        event = buy_with_prime.parse(body)
    except ValueError as e:
        return Response(str(e), 400)
    # Writing to a disk blocks; the loop goes on with other requests meanwhile.
    await run_in_threadpool(inbox.put, event)
    return Response(status_code=204)
