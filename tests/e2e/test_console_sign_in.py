"""Signing in as people do it, in a browser, on a hub that needs it: the first admin by the printed link, somebody who
is invited, a wrong password, another password, the way out. Every page of it is looked at."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from tests.chromium import browser as browser
from tests.e2e.looking import axe as axe
from tests.e2e.looking import look, visit, watched
from tests.e2e.processes import Program, environment, started

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

PASSWORD, ANOTHER = "kettle under winter rain", "another kettle in the rain"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Program]:
    env = environment(WEBHOOK_USERNAME="u", WEBHOOK_PASSWORD="p")
    with started(["serve", "--port", "0"], tmp_path_factory.mktemp("sign-in"), env) as program:
        yield program


async def set_password(page: Page, password: str) -> None:
    await page.get_by_label("Password", exact=True).fill(password)
    await page.get_by_label("Password again").fill(password)
    await page.get_by_role("button", name="Set the password").click()


async def test_the_first_admin_invites_somebody_who_signs_in(
    hub: Program, browser: Browser, axe: str
) -> None:
    link, url = hub.line("/setup/").strip(), hub.url()
    async with watched(browser, axe) as page:
        await visit(page, f"{url}/sign-in", "sign-in-nobody-yet")
        await visit(page, link, "setup-first")
        await page.get_by_label("Your name").fill("Ada Lovelace")
        await page.get_by_label("Sign-in name").fill("ada@shop.example")
        await set_password(page, "password1234")
        await expect(page.get_by_text("tried first")).to_be_visible()
        await look(page, "setup-wrong")
        await set_password(page, PASSWORD)
        await page.wait_for_url(f"{url}/")
        await page.goto(f"{url}/users")
        await page.get_by_label("Name", exact=True).fill("Grace Hopper")
        await page.get_by_label("Sign-in name").fill("grace@shop.example")
        await page.get_by_label("Role").select_option("analyst")
        await page.get_by_role("button", name="Make a link").click()
        invited = (await page.get_by_text("/setup/").inner_text()).strip()
        await look(page, "user-link")
        await visit(page, f"{url}/users", "users")
        await page.get_by_role("link", name="Grace Hopper").click()
        await look(page, "user")
        await visit(page, f"{url}/account", "account")
        await visit(page, f"{url}/audit", "audit")
        async with watched(browser, axe) as hers:
            await visit(hers, invited, "setup")
            await set_password(hers, PASSWORD)
            await hers.wait_for_url(f"{url}/")
            await expect(hers.get_by_role("link", name="Users")).to_have_count(0)
            await visit(hers, f"{url}/users", "users-forbidden", status=403)
            await visit(hers, invited, "setup-used", status=404)


async def test_a_wrong_password_then_the_right_one_and_out_again(
    hub: Program, browser: Browser, axe: str
) -> None:
    url = hub.url()
    async with watched(browser, axe) as page:
        await page.goto(f"{url}/account")
        await page.wait_for_url(re.compile("/sign-in.next="))
        for password in ("wrong", PASSWORD):
            await page.get_by_label("Sign-in name").fill("GRACE@shop.example")
            await page.get_by_label("Password").fill(password)
            await page.get_by_role("button", name="Sign in").click()
            if password == "wrong":
                await expect(page.get_by_text("is wrong")).to_be_visible()
                await look(page, "sign-in-wrong")
        await page.wait_for_url(f"{url}/account")
        await expect(page.get_by_role("row")).to_have_count(1 + 2)
        await page.get_by_label("Your password now").fill(PASSWORD)
        await page.get_by_label("New password", exact=True).fill(ANOTHER)
        await page.get_by_label("New password again").fill(ANOTHER)
        await page.get_by_role("button", name="Change the password").click()
        await expect(page.get_by_text("Your password was changed")).to_be_visible()
        await expect(page.get_by_role("row")).to_have_count(1 + 1)
        await look(page, "account-changed")
        await page.locator("main").get_by_role("button", name="Sign out").first.click()
        await page.wait_for_url(f"{url}/sign-in")
        await page.go_back()
        await page.reload()
        await page.wait_for_url(re.compile("/sign-in.next="))


async def test_it_all_goes_without_a_script(hub: Program, browser: Browser) -> None:
    url = hub.url()
    async with await browser.new_context(java_script_enabled=False) as context:
        context.set_default_timeout(90_000)
        page = await context.new_page()
        await page.goto(f"{url}/users")
        await page.get_by_label("Sign-in name").fill("ada@shop.example")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url(f"{url}/users")
        await page.get_by_role("link", name="Grace Hopper").click()
        for button, said in (
            ("Disable", "Disabled: they are signed out"),
            ("Enable", "Enabled: they can sign in"),
        ):
            await page.get_by_role("button", name=button, exact=True).click()
            await expect(page.get_by_text(said)).to_be_visible()
