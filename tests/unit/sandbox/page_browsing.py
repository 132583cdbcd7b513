"""Looking at the page of a sandbox that stands still: what its tests do again and again."""

from tests.unit.sandbox.markup import Browser, Form, Page

from milepost.domain.attempt import Destination
from milepost.sandbox.world import WorldOrder


async def place(browser: Browser, scenario: str | None = None) -> WorldOrder:
    (order_id, *_) = await browser.sandbox.keeper.start(1, scenario)
    world = await browser.sandbox.keeper.order(order_id, None)
    assert world is not None
    return world


async def order_page(browser: Browser, order_id: str) -> Page:
    return await browser.get(f"/sandbox/order?id={order_id}")


async def subscribe(browser: Browser, url: str, *types: str, id: str = "sub-1") -> None:
    settings = (
        b'{"url":"%s","auth":{"basicAuthConfig":{"username":"u","password":"a-secret"}}}' % url.encode()
    )
    destination = Destination(id, "webhook", settings, types, endpoint=url)
    await browser.sandbox.store.write(lambda tx: tx.attempts.put_destination(destination))


def moves(page: Page) -> list[Form]:
    return [form for form in page.forms if form.action == "/sandbox/page/move"]
