"""Answers that are sent piece by piece and may outlive whoever asked: they go on only while the key or the session is
good and the hub is not stopping, and what cannot go on breaks off, so that nobody takes it for whole."""

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from litestar.response import Stream
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Send

from milepost.domain.errors import MilepostError, StoreUnavailable, Unauthenticated
from milepost.store import Transaction
from milepost.web.authentication import Principal, stored
from milepost.web.context import Context
from milepost.web.sessions import is_signed_in
from milepost.web.visiting import Visitor


def still_good(context: Context, who: Principal | Visitor) -> Callable[[Transaction], None]:
    """What to ask in every read of a long answer. It raises `Unauthenticated` once the key was revoked or the visitor
    is not who they were, and `StoreUnavailable` when the hub stops, which has less time than an answer may take."""

    def check(tx: Transaction) -> None:
        if context.closing.is_set():
            raise StoreUnavailable("the hub is stopping: ask again once it is back")
        if isinstance(who, Visitor):
            if not is_signed_in(tx, who, context.clock()):
                raise Unauthenticated("You are not signed in any more, or not as who you were.")
        elif who.hash is not None and stored(tx, who.hash) is None:
            raise Unauthenticated("This API key was revoked.")

    return check


async def while_good(
    context: Context, who: Principal | Visitor, pieces: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The pieces, each asked for only while `still_good` says nothing."""
    check = still_good(context, who)
    async for piece in pieces:
        yield piece
        await context.store.read(check)


class Streamed(Stream):
    """A stream that may break off. `ended` is called when nothing more is sent, for whatever reason."""

    def __init__(self, pieces: AsyncIterator[bytes], ended: Callable[[], Any] = bool, **given: Any) -> None:
        super().__init__(pieces, **given)
        self._ended = ended

    def to_asgi_response(self, *args: Any, **given: Any) -> ASGIResponse:
        kept = ("background", "cookies", "encoded_headers", "is_head_response", "status_code")
        more = {name: given[name] for name in kept if name in given}
        headers = {**(given.get("headers") or {}), **self.headers}
        pieces = cast("AsyncIterator[bytes]", self.iterator)
        response = _BreaksOff(iterator=pieces, headers=headers, media_type=self.media_type, **more)
        response.ended = self._ended
        return response


class _BreaksOff(ASGIStreamingResponse):
    """Where it cannot go on, it ends without its end: the server closes the connection then, so that nobody takes the
    body for whole."""

    ended: Callable[[], Any] = bool

    async def send_body(self, send: Send, receive: Receive) -> None:
        try:
            await super().send_body(send, receive)
        except* MilepostError:
            pass
        finally:
            self.ended()
