"""Looking at a page as a designer would, in Chromium: on a desk and on a phone, light and dark.

    async with watched(browser, axe) as page:
        await visit(page, f"{hub}/queues", "queues")     # opens it and looks
        await page.get_by_role("button", name="Assign").click()
        await look(page, "queues-assigned")              # looks at it as it is now

`look` keeps four pictures under `.cache/screenshots/` and fails with everything that is wrong: text that is hard to
read, cut off or clipped; a page wider than its window; targets smaller than a fingertip; what axe finds; an icon
that isn't there; an error of the console, something that the content's policy forbade, a request to another host.
`visit` also fails when anything moved while the page was being loaded.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import pytest
from playwright.async_api import Browser, Page, ViewportSize
from tests import npm
from tests.legibility import LEGIBLE

Scheme = Literal["light", "dark"]
PICTURES = Path(__file__).parent.parent.parent / ".cache" / "screenshots"
WINDOWS: dict[str, ViewportSize] = {
    "desktop": {"width": 1280, "height": 800},
    "phone": {"width": 390, "height": 844},
}
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
HERE = frozenset({"127.0.0.1", "localhost"})

SHIFTS = """() => new Promise((resolve) => {
  let sum = 0;
  let what = new Set();
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.hadRecentInput) continue;
      sum += entry.value;
      for (const source of entry.sources) what.add(source.node?.className || source.node?.nodeName);
    }
  });
  observer.observe({ type: 'layout-shift', buffered: true });
  const done = () => resolve([sum, [...what].join(', ')]);
  document.fonts.ready.then(() => requestAnimationFrame(() => setTimeout(done, 0)));
})"""

DRAWN = """() => {
  const found = [];
  for (const icon of document.querySelectorAll('svg.icon')) {
    const box = icon.getBoundingClientRect();
    if (!box.width || !icon.checkVisibility()) continue;
    const drawn = icon.getBBox();
    const name = icon.firstElementChild.getAttribute('href').split('#')[1];
    if (!drawn.width && !drawn.height) found.push(`no icon: ${name}`);
  }
  for (const target of document.querySelectorAll('button, select, input:not([type=hidden]), summary, a.button')) {
    const box = target.getBoundingClientRect();
    if (!box.width || !target.checkVisibility({ visibilityProperty: true })) continue;
    if (box.height < 24 && !target.closest('label')) {
      found.push(`small target: ${target.textContent.trim() || target.name}`);
    }
  }
  for (const table of document.querySelectorAll('.table:not(.grid)')) {
    if (table.scrollWidth > table.clientWidth + 1) found.push(`a table is too wide: ${table.ariaLabel}`);
  }
  return found;
}"""
"""Icons that the sprite lacks; tables that must be scrolled sideways; targets lower than 24 (WCAG 2.2, 2.5.8)."""

AXE = """async () => {
  const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
  const { violations } = await axe.run(document, { runOnly: tags, resultTypes: ['violations'] });
  return violations.map((v) => `axe, ${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | ')}`);
}"""

_heard: WeakKeyDictionary[Page, list[str]] = WeakKeyDictionary()


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """The source of axe-core."""
    folder = npm.installed(Path(__file__).with_name("axe"), request.config)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@asynccontextmanager
async def watched(browser: Browser, axe: str, **context: Any) -> AsyncIterator[Page]:
    """A page that notes what goes wrong on it, and that axe is ready on. `context` as for Playwright's."""
    async with await browser.new_context(
        viewport=WINDOWS["desktop"], reduced_motion="reduce", **context
    ) as opened:
        # Not a script of the page's, so its policy does not forbid it.
        await opened.add_init_script(axe)
        page = await opened.new_page()
        # A picture of a long page takes its time where others are at work on the machine.
        page.set_default_timeout(90_000)
        heard = _heard[page] = []
        page.on("pageerror", lambda error: heard.append(f"error: {error.message[:200]}"))
        page.on("console", lambda said: heard.append(f"console: {said.text[:200]}") if loud(said) else None)
        page.on(
            "request", lambda asked: heard.append(f"asked {asked.url[:100]}") if away(asked.url) else None
        )
        yield page


def loud(said: Any) -> bool:
    """Errors and warnings of the browser's console, but for the status of the page itself, which a test knows."""
    return said.type in {"error", "warning"} and "the server responded with a status of" not in said.text


def away(url: str) -> bool:
    """Whether a request leaves for another host."""
    return urlsplit(url).scheme in {"http", "https", "ws", "wss"} and urlsplit(url).hostname not in HERE


@contextmanager
def expected(page: Page, *parts: str) -> Iterator[None]:
    """What a test did on purpose, and the browser complains of, is no fault of the page."""
    yield
    _heard[page][:] = [line for line in _heard[page] if not any(part in line for part in parts)]


async def visit(page: Page, url: str, name: str, *, status: int = 200) -> None:
    """Open a page in either window, hold it against moving while it loads, and look at it."""
    wrong = []
    for window, size in reversed(WINDOWS.items()):
        await page.set_viewport_size(size)
        answer = await page.goto(url)
        assert answer is not None
        assert answer.status == status, f"{url}: {answer.status}"
        moved, what = await page.evaluate(SHIFTS)
        if moved:
            wrong.append(f"{name}, {window}: moved by {moved:.4f} while it was being loaded: {what}")
    _fail(wrong)
    await look(page, name)


async def look(page: Page, name: str) -> None:
    """Hold the page as it is now against everything above, in both windows and both schemes."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    wrong = []
    for window, size in WINDOWS.items():
        await page.set_viewport_size(size)
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme)
            await page.screenshot(path=PICTURES / f"{name}.{window}.{scheme}.png", full_page=True)
            read = await page.evaluate(LEGIBLE)
            found = read["found"] + ([] if read["seen"] > 1 else ["hardly any text"])
            if scheme == "light":
                found += await page.evaluate(DRAWN) + await page.evaluate(AXE)
            wrong += [f"{name}, {window}, {scheme}: {each}" for each in found]
    await page.emulate_media(color_scheme="light")
    wrong += [f"{name}: {each}" for each in _heard[page]]
    _heard[page].clear()
    _fail(wrong)


def _fail(wrong: list[str]) -> None:
    if wrong:
        pytest.fail("\n".join(["What a page looks like:", *wrong]), pytrace=False)
