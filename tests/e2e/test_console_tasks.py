"""What each role comes to the console for, done in a browser as they do it: real hub, real sandbox, signed in.

One hub, one sandbox and one browser serve all tests. Each test is somebody who was invited, on the device and in the
colours that its line in `WAYS` says; where that says so, without a script. What is seen is held against the API.
"""

import csv
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect
from tests.chromium import browser as browser
from tests.e2e.looking import PICTURES, WINDOWS, away, loud
from tests.e2e.processes import KEY, WAIT_S, Place, place
from tests.e2e.recorder import Recorder

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

PASSWORD = "kettle under winter rain"
SECRET = "a-secret-of-at-least-thirty-two-characters"
CODE = "PACKAGE_RECEIVED_BY_DRONE"
WAYS: dict[str, dict[str, Any]] = {
    "agent": {"viewport": WINDOWS["desktop"], "color_scheme": "light"},
    "agent-queue": {"viewport": WINDOWS["phone"], "color_scheme": "dark", "java_script_enabled": False},
    "analyst": {"viewport": WINDOWS["desktop"], "color_scheme": "dark", "java_script_enabled": False},
    "operator": {"viewport": WINDOWS["desktop"], "color_scheme": "light"},
    "operator-mending": {"viewport": WINDOWS["phone"], "color_scheme": "light"},
    "admin": {"viewport": WINDOWS["phone"], "color_scheme": "dark", "java_script_enabled": False},
}
"""Who works how; the role is the name's first word."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(
        tmp_path_factory.mktemp("tasks"), TRACKING_SECRET=SECRET, EGRESS_ALLOW="127.0.0.0/8"
    ) as started:
        yield started


@pytest.fixture(scope="module")
def order(here: Place) -> dict[str, Any]:
    """An order of the sandbox's world whose parcel has arrived, as the API shows it."""
    return here.deliver()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(here: Place) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=here.hub_url, headers=headers, timeout=WAIT_S) as client:
        yield client


@asynccontextmanager
async def somebody(browser: Browser, api: httpx.AsyncClient, name: str) -> AsyncIterator[Page]:
    """The page of somebody who was invited and has set a password; nothing may go wrong on it."""
    body = {"signInName": f"{name}@shop.example", "name": f"The {name}", "role": name.partition("-")[0]}
    made = (await api.post("/v1/users", json=body)).raise_for_status().json()
    async with await browser.new_context(**WAYS[name], reduced_motion="reduce") as context:
        context.set_default_timeout(90_000)
        page = await context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(error.message))
        page.on("console", lambda said: wrong.append(said.text) if loud(said) else None)
        page.on("request", lambda asked: wrong.append(asked.url) if away(asked.url) else None)
        await page.goto(f"{api.base_url}{made['link']['path']}")
        await page.get_by_label("Password", exact=True).fill(PASSWORD)
        await page.get_by_label("Password again").fill(PASSWORD)
        await page.get_by_role("button", name="Set the password").click()
        await page.wait_for_url(re.compile(r"/$"))
        yield page
        PICTURES.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=PICTURES / f"task-{name}.png", full_page=True)
        width = await page.locator("html").evaluate("e => e.scrollWidth - e.clientWidth")
        assert (wrong, width) == ([], 0)


async def go(page: Page, path: str) -> None:
    """Open an address of the hub that the page is of, which has to be there."""
    answer = await page.goto(f"{re.match(r'https?://[^/]+', page.url)[0]}{path}")  # type: ignore[index]
    assert answer is not None
    assert answer.status == 200, path


async def until_shown(page: Page, seen: Locator) -> None:
    """A fold happens in its own time, and a page that was read before is asked for again."""
    for _ in range(150):
        if await seen.count():
            return
        await page.wait_for_timeout(100)  # a fold gives no signal to another process
        await page.reload()
    await expect(seen.first).to_be_visible()


def parcel_of(order: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """An order's parcel that has arrived, and its tracker."""
    parcel = next(each for each in order["deliveries"] if each["state"] == "DELIVERED" and each["trackers"])
    return parcel, parcel["trackers"][0]


def odd_event(product: str, number: str, code: str) -> bytes:
    """A webhook body about a parcel of its own, with a scan whose code is this, and one that says it moves."""
    scans = [("IN_TRANSIT", "2026-01-05T10:00:00Z"), (code, "2026-01-06T10:00:00Z")]
    milestones = [
        {"status": {"code": said, "message": []}, "occurredAt": at, "address": {"country": "US"}}
        for said, at in scans
    ]
    tracker = {"packageTrackerIdentifier": {"trackingNumber": f"1Z{number}", "carrierCode": "UPS"}}
    details: dict[str, Any] = {"id": f"delivery-{number}", "state": "IN_TRANSIT"}
    known = {"id": f"order-{number}", "packageInformation": {"details": [details]}}
    details |= {"packageTracker": tracker | {"milestones": milestones}}
    event = {
        "idempotencyKey": f"key-{number}",
        "eventDescriptor": "PACKAGE_DELIVERY_IN_TRANSIT",
        "resources": [f"businessProduct/{product}/order/order-{number}/delivery/delivery-{number}"],
        "eventId": f"event-{number}",
        "apiVersion": "2024-11-01",
        "subscriptionId": "subscription-1",
        "eventTime": "2026-01-06T10:00:10Z",
        "data": {"order": known},
    }
    return json.dumps(event).encode()


async def test_an_agent_finds_a_parcel_by_any_handle_and_reads_what_the_api_says(
    browser: Browser, api: httpx.AsyncClient, order: dict[str, Any]
) -> None:
    parcel, tracker = parcel_of(order)
    handles = [order["id"], order["aliases"][0]["aliasId"], tracker["trackingNumber"]]
    handles += [order["customer"]["email"], order["customer"]["name"]]
    async with somebody(browser, api, "agent") as page:
        for handle in handles:
            await page.get_by_role("search").get_by_label(re.compile("Find|Order id")).fill(handle)
            await page.keyboard.press("Enter")
            await page.wait_for_url(re.compile(rf"/orders/{order['id']}([?#]|$)"))
            shown = page.locator(f"[data-delivery='{parcel['id']}']")
            assert await page.locator("[data-is=order-id]").inner_text() == order["id"]
            assert await shown.locator("[data-is=state]").get_attribute("data-code") == parcel["state"]
            stage = shown.locator("[data-is=stage]").first
            assert await stage.get_attribute("data-code") == tracker["stage"]
            assert await page.locator("[data-is=email]").inner_text() == order["customer"]["email"]
            assert await page.locator("[data-is=name]").inner_text() == order["customer"]["name"]
        await _keep_a_note(page, api, order)
        await _correct_and_withdraw(page, api, order)
        async with page.context.expect_page() as opened:
            await page.get_by_role("button", name="Open what the customer sees").click()
        shopper = await opened.value
        await shopper.wait_for_url(re.compile("/track/"))
        await expect(shopper.locator("h1")).to_be_visible()
        assert order["customer"]["email"] not in await shopper.content()


async def _keep_a_note(page: Page, api: httpx.AsyncClient, order: dict[str, Any]) -> None:
    await page.get_by_label("For whoever looks at this order next").fill("The porter has it.")
    await page.get_by_role("button", name="Keep the note").click()
    await expect(page.get_by_text("The note is kept.")).to_be_visible()
    await until_shown(page, page.get_by_text("The agent: The porter has it."))
    (note,) = (await api.get(f"/v1/orders/{order['id']}/notes")).json()["items"]
    assert (note["author"], note["text"]) == ("The agent", "The porter has it.")


async def _correct_and_withdraw(page: Page, api: httpx.AsyncClient, order: dict[str, Any]) -> None:
    """A parcel that is said to have arrived is on its way, says somebody; then not."""
    parcel, _ = parcel_of(order)
    state = page.locator(f"[data-delivery='{parcel['id']}'] [data-is=state]")
    await page.get_by_text("Correct a state").click()
    await page.get_by_label("What is wrong").select_option(f"delivery/{parcel['id']}")
    await page.get_by_label("What is true instead").select_option("IN_TRANSIT")
    await page.get_by_label("How you know").fill("They have not got it.")
    await page.get_by_role("button", name="Correct it").click()
    await until_shown(
        page, page.locator(f"[data-delivery='{parcel['id']}'] [data-code=IN_TRANSIT][data-is=state]")
    )
    document = (await api.get(f"/v1/orders/{order['id']}")).json()
    (corrected,) = [each for each in document["deliveries"] if each["id"] == parcel["id"]]
    assert corrected["state"] == await state.get_attribute("data-code")
    await expect(page.get_by_text("The agent: They have not got it.")).to_be_visible()
    await page.get_by_role("button", name="Withdraw it").click()
    await until_shown(
        page, page.locator(f"[data-delivery='{parcel['id']}'] [data-code=DELIVERED][data-is=state]")
    )
    (known,) = (await api.get(f"/v1/orders/{order['id']}/corrections")).json()["items"]
    assert known["endedBy"] == "The agent"


async def test_an_agent_works_a_queue_without_a_script(
    here: Place, browser: Browser, api: httpx.AsyncClient, order: dict[str, Any]
) -> None:
    assert here.send(odd_event(order["businessProductId"], "0001", "DELIVERY_ATTEMPTED")) == 200
    async with somebody(browser, api, "agent-queue") as page:
        await go(page, "/queues")
        await until_shown(page, page.get_by_role("heading").get_by_role("link", name="Attempted"))
        await page.get_by_role("heading").get_by_role("link", name="Attempted").click()
        row = page.get_by_role("row").filter(has_text="1Z0001")
        await row.get_by_role("checkbox").check()
        await page.get_by_role("button", name="Take it").click()
        await expect(row).to_contain_text("The agent-queue")
        await row.get_by_role("checkbox").check()
        await page.get_by_label("Note, or the reason").fill("They were called.")
        await page.get_by_role("button", name="Handled", exact=True).click()
        await expect(row).to_have_count(0)
        await page.get_by_label("State").select_option("handled")
        await page.get_by_role("button", name="Filter").click()
        await expect(row).to_contain_text("They were called.")
        await expect(row).to_contain_text("The agent-queue")


async def test_an_analyst_opens_a_number_and_sees_nobodys_address(
    browser: Browser, api: httpx.AsyncClient, order: dict[str, Any], tmp_path: Path
) -> None:
    parcel, tracker = parcel_of(order)
    async with somebody(browser, api, "analyst") as page:
        await go(page, "/insights?period=all")
        option = f"option[value='{tracker['carrierCode']}' i]"
        carrier = page.get_by_label("Carrier", exact=True).locator(option)
        await until_shown(page, carrier)
        chosen = await carrier.get_attribute("value")
        await page.get_by_label("Carrier", exact=True).select_option(chosen)
        await page.get_by_label("Date", exact=True).select_option("delivered")
        await page.get_by_role("button", name="Show", exact=True).click()
        await page.wait_for_url(re.compile("basis=delivered"))
        standing = page.locator("section.card").filter(has_text="Where they stand")
        await standing.get_by_role("link", name="Delivered").click()
        await page.wait_for_url(re.compile("/insights/rows"))
        await expect(page.get_by_role("link", name=order["id"])).to_be_visible()
        async with page.expect_download() as saved:
            await page.get_by_role("link", name="CSV").click()
        await (await saved.value).save_as(tmp_path / "parcels.csv")
        rows = list(csv.DictReader((tmp_path / "parcels.csv").read_text().splitlines()))
        assert order["id"] in {row["order_id"] for row in rows}
        await page.get_by_role("link", name=order["id"]).click()
        await expect(page.locator(f"[data-delivery='{parcel['id']}']")).to_be_visible()
        said = await page.content() + json.dumps(rows)
        assert order["customer"]["email"] not in said
        assert order["customer"]["name"] not in said


async def test_an_operator_sees_an_event_arrive_and_what_was_sent_about_it(
    here: Place, browser: Browser, api: httpx.AsyncClient, order: dict[str, Any]
) -> None:
    receiver = Recorder()
    made = here.run("subscribers", "add", "OMS", "--to", receiver.url, "--json").json()
    async with somebody(browser, api, "operator") as page:
        await go(page, "/events")
        await expect(page.get_by_role("status").get_by_text("live", exact=True)).to_be_visible()
        before = await page.locator("tbody tr").first.get_attribute("id")
        caused = here.run("trigger", "PACKAGE_DELIVERED", "--json").json()["events"][-1]
        about = caused["resources"][0].partition("/order/")[2]
        arrived = page.locator("tr.fresh").filter(has=page.get_by_title(f"order/{about}"))
        await expect(arrived.first).to_be_visible(timeout=WAIT_S * 1000)
        assert before != await page.locator("tbody tr").first.get_attribute("id")
        await arrived.first.get_by_role("link").first.click()
        await expect(page.get_by_text(about).first).to_be_visible()
        await go(page, "/subscribers")
        await page.get_by_role("link", name="OMS").click()
        await page.get_by_role("button", name="Send a test").click()
        await until_shown(page, page.get_by_role("row").filter(has_text="Delivered"))
        await page.get_by_role("row").filter(has_text="Delivered").last.get_by_role("link").click()
        await expect(page.get_by_text("status 204").first).to_be_visible()
        await go(page, f"/subscribers/{made['id']}")
        await page.get_by_role("link", name="Replay").click()
        sent = len(receiver.got)
        await page.get_by_role("button", name="Count").click()
        await expect(
            page.get_by_role("heading", name=re.compile(r"It would be [\d,]+ message"))
        ).to_be_visible()
        assert len(receiver.got) == sent, "a dry run sends nothing"
    receiver.close()


async def test_an_operator_mends_a_body_and_says_what_a_code_means(
    here: Place, browser: Browser, api: httpx.AsyncClient, order: dict[str, Any]
) -> None:
    body = odd_event(order["businessProductId"], "0002", CODE)
    assert here.send(body[:-2]) == 400, "it is kept all the same"
    async with somebody(browser, api, "operator-mending") as page:
        await go(page, "/quarantine")
        await page.get_by_role("table").get_by_role("link").first.click()
        await page.get_by_label("The event", exact=True).fill(body.decode())
        await page.get_by_role("button", name="Check and let in").click()
        await expect(page.get_by_text("It was let in.")).to_be_visible()
        await page.get_by_role("link", name="The event it became").click()
        await expect(page.get_by_text("mended by hand")).to_be_visible()
        await go(page, "/mapping")
        await until_shown(page, page.get_by_role("row").filter(has_text=CODE))
        await page.get_by_role("link", name=CODE).click()
        await page.get_by_label("It means").select_option("OUT_FOR_DELIVERY")
        await page.get_by_role("button", name="See what would change").click()
        await expect(page.get_by_text("1 tracker").first).to_be_visible()
        await page.get_by_label("Why").fill("The carrier said so.")
        await page.get_by_role("button", name="Make it so").click()
        await expect(page.get_by_text("The new version holds")).to_be_visible()
        await go(page, "/trackers/UPS/1Z0002")
        await until_shown(page, page.locator("[data-is=stage][data-code=OUT_FOR_DELIVERY]"))
    assert (await api.get("/v1/trackers/UPS/1Z0002")).json()["stage"] == "OUT_FOR_DELIVERY"


async def test_an_admin_invites_somebody_and_reads_it_in_the_audit_log_without_a_script(
    browser: Browser, api: httpx.AsyncClient
) -> None:
    async with somebody(browser, api, "admin") as page:
        await go(page, "/users")
        await page.get_by_label("Name", exact=True).fill("Grace Hopper")
        await page.get_by_label("Sign-in name").fill("grace@shop.example")
        await page.get_by_label("Role").select_option("analyst")
        await page.get_by_role("button", name="Make a link for them").click()
        await expect(page.get_by_text("/setup/")).to_be_visible()
        await page.get_by_role("link", name="Done").click()
        await page.get_by_label("Role").select_option("operator")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("status")).to_be_visible()
        await go(page, "/audit")
        for action in ("User: invited", "User: changed"):
            row = page.get_by_role("row").filter(has_text="Grace Hopper").filter(has_text=action)
            await expect(row.first).to_contain_text("The admin")
    users = (await api.get("/v1/users")).json()["items"]
    assert {user["name"]: user["role"] for user in users}["Grace Hopper"] == "operator"
