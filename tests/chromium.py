"""Debian's Chromium for tests that look at pages: where it comes from, and a browser for a module's tests.

    from tests.chromium import browser as browser
    pytestmark = pytest.mark.asyncio(loop_scope="module")

    async def test_a_page(browser: Browser) -> None:
        page = await browser.new_page()

On a machine that has none it is installed with apt-get, or, by somebody who may not, unpacked under `.cache/`. Where
neither can be done the test fails and says why. It reaches nothing but this machine.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

INSTALLED = Path("/usr/bin/chromium")
CACHE = Path(__file__).parent.parent / ".cache" / "chromium"
PACKAGES = ("chromium", "fonts-liberation", "fonts-dejavu-core")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
_FONTS = """<?xml version="1.0"?>
<fontconfig><dir>{root}/usr/share/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{root}/fonts</cachedir></fontconfig>
"""

# Only a failure takes so long.
expect.set_options(timeout=90_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A browser with an empty profile, which goes with the module's last test."""
    program, environment = chromium()
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=program, args=list(FLAGS), env={**os.environ, **environment}
        )
        yield started
        await started.close()


def chromium() -> tuple[Path, dict[str, str]]:
    """The program, and what its environment needs besides; it is fetched where there is none."""
    with _alone():
        if INSTALLED.exists() or _install():
            return INSTALLED, {}
        return _unpacked()


@contextmanager
def _alone() -> Iterator[None]:
    """Only one of several test processes at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install() -> bool:
    """Whether Debian's package could be installed into the system."""
    asked = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if asked and (
        shutil.which("sudo") is None
        or subprocess.run([*asked, "true"], check=False, capture_output=True).returncode
    ):
        return False
    _run(*asked, "apt-get", "update", "-q")
    _run(*asked, "apt-get", "install", "-q", "-y", "--no-install-recommends", *PACKAGES)
    return INSTALLED.exists()


def _unpacked() -> tuple[Path, dict[str, str]]:
    """The package and what it depends on, unpacked by somebody who may install nothing."""
    root = CACHE / "root"
    program = root / "usr/lib/chromium/chromium"
    if not program.exists():
        _unpack(root)
    libraries = [str(path) for path in root.glob("usr/lib/*-linux-gnu*")]
    fonts = CACHE / "fonts.conf"
    fonts.write_text(_FONTS.format(root=root))
    return program, {
        "LD_LIBRARY_PATH": os.pathsep.join([str(program.parent), *libraries]),
        "FONTCONFIG_FILE": str(fonts),
    }


def _unpack(root: Path) -> None:
    """Apt keeps its lists in the cache: the system's are not ours, and may be empty."""
    state, packages = CACHE / "apt", CACHE / "packages"
    for folder in (state / "lists/partial", state / "archives/partial", packages):
        folder.mkdir(parents=True, exist_ok=True)
    own = [
        *("-o", f"Dir::State={state}", "-o", f"Dir::State::Lists={state / 'lists'}"),
        *("-o", f"Dir::Cache={state}", "-o", "Dir::State::Status=/var/lib/dpkg/status"),
        *("-o", "APT::Sandbox::User="),
    ]
    _run("apt-get", *own, "update", "-q")
    planned = _run("apt-get", *own, "install", "-s", "--no-install-recommends", *PACKAGES)
    wanted = [line.split()[1] for line in planned.splitlines() if line.startswith("Inst ")]
    _run("apt-get", *own, "download", "-q", *wanted, cwd=packages)
    unfinished = root.with_name("unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for package in sorted(packages.glob("*.deb")):
        _run("dpkg", "-x", str(package), str(unfinished))
    unfinished.rename(root)
    shutil.rmtree(packages)


def _run(*command: str, cwd: Path | None = None) -> str:
    """What a command printed; the test fails with what it complained of."""
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        pytest.fail(f"Chromium is not installed and cannot be fetched: {e}", pytrace=False)
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip())[-600:]
        verb = " ".join(word for word in command if "::" not in word and not word.startswith("-"))
        pytest.fail(f"Chromium is not installed, and `{verb}` failed: {words}", pytrace=False)
    return done.stdout
