"""What keeps the page safe and usable by everybody: policies, methods, origins, labels, headings."""

from typing import Any

import pytest
from tests.unit.sandbox.markup import Browser, Page
from tests.unit.sandbox.page_browsing import place, subscribe

PAGES = (
    "/",
    "/sandbox/published",
    "/sandbox/published/event?position=1",
    "/sandbox/published/subscriptions",
    "/sandbox/world",
)


async def test_every_page_has_its_policy_and_can_be_read_by_everybody(browser: Browser) -> None:
    world = await place(browser)
    await browser.sandbox.keeper.trigger("PACKAGE_DELIVERED", order_id=world.id)
    await subscribe(browser, "http://127.0.0.1:9/hook")
    for path in (*PAGES, f"/sandbox/order?id={world.id}"):
        answer = await browser.http.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "form-action 'self'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "a-secret" not in answer.text
        page = Page(answer.text)
        assert len(set(page.ids)) == len(page.ids), "ids are unique"
        assert page.headings[0] == 1
        assert page.headings.count(1) == 1
        assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False)), page.headings
        for control, in_label in page.controls:
            assert in_label or control in page.labelled, f"{control} of {path} has no label"
        for form in page.forms:
            assert form.method == "post"
            assert form.action.startswith("/sandbox/page/")
            assert all(words.strip() for words, _, _ in form.buttons)


@pytest.mark.parametrize("path", [*PAGES, "/sandbox/page.css"])
async def test_head_is_answered_and_other_methods_are_not(browser: Browser, path: str) -> None:
    await place(browser)
    await browser.sandbox.keeper.trigger(
        "PACKAGE_DELIVERED", order_id=(await browser.sandbox.keeper.everything())[0].id
    )
    assert (await browser.http.head(path)).status_code == 200
    for method in ("POST", "PUT", "DELETE"):
        answer = await browser.http.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert (await browser.http.get("/sandbox/page/move")).status_code == 405


async def test_no_page_of_another_origin_presses_a_button(browser: Browser) -> None:
    world = await place(browser)
    fields = {"order": world.id, "do": "cancel"}
    for origin in ("http://evil.example", "null"):
        answer = await browser.http.post("/sandbox/page/move", data=fields, headers={"origin": origin})
        assert answer.status_code == 403
    assert (await browser.http.get("/", headers={"host": "evil.example"})).status_code == 403
    now: Any = await browser.sandbox.keeper.order(world.id, None)
    assert now.order["packageInformation"]["summary"]["state"] == "PENDING"
