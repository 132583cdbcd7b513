"""The two parts of a mail: their colours can be read, and an installed package has what they are made from."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.unit.shopper.views import BRAND, message

from milepost.shopper.colours import ENOUGH, contrast

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.mark.parametrize("color", ["#2457a6", "#ffe600", "#ffffff", "#000000", "#7fb069"])
def test_the_shops_colour_can_be_read_in_either_scheme(color: str) -> None:
    html = message("shipped", brand=replace(BRAND, color=color)).html
    link = re.search(r'class="accent" href="mailto[^>]* style="color: (#\w{6})', html)
    dark = re.search(r"\.accent { color: (#\w{6})", html)
    written = re.search(r"\.fill { background: (#\w{6}) !important; [^}]*[^-]color: (#\w{6})", html)
    assert link
    assert dark
    assert written
    for background in ("#ffffff", "#f1f3f5"):
        assert contrast(link[1], background) >= ENOUGH
    for background in ("#121417", "#1d2025", "#272b32"):
        assert contrast(dark[1], background) >= ENOUGH
    assert contrast(written[1], written[2]) >= ENOUGH


def test_the_schemes_are_declared() -> None:
    html = message("shipped").html
    assert '<meta name="color-scheme" content="light dark">' in html
    assert "@media (prefers-color-scheme: dark)" in html
    assert "max-width: 600px" in html


def test_the_text_part_has_no_markup_and_no_empty_stretches() -> None:
    text = message("digest").text
    assert "<" not in text
    assert "\n\n\n" not in text
    assert "&amp;" not in text
    assert "Fern & Flint" in text


def test_an_installed_wheel_has_templates_and_catalogues(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    code = (
        "import milepost.shopper.composing as c, milepost.shopper.samples as s;"
        "g = s.sample('lost');"
        "b = c.Brand('Shop', None, '#2457a6', None, None);"
        "l = c.Links(None, None);"
        "m = c.compose(g.notification, g.order, kind='lost', covers=(), locale='es', brand=b, links=l);"
        "print(c.__file__); print(m.subject)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    where, subject = done.stdout.splitlines()
    assert Path(where).is_relative_to(installed)
    assert subject == "Parece que tu paquete de Shop se ha perdido"
