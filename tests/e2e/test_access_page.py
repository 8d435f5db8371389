"""The commands of docs/access.md, run as they stand against a server in the mode of their section."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from copperplate.access import shares
from copperplate.adapters.system_clock import SystemClock
from copperplate.compose.providers import make_provider
from copperplate.model import PictureFormat
from copperplate.prices import MICRO, dollars
from copperplate.recipes.image import DEFAULT_MODEL, image_request
from copperplate.recipes.memoji import memoji_request
from copperplate.settings import Settings
from tests.e2e.dev_server import dev_server

ROOT = Path(__file__).parents[2]
# A section's name, its commands and what they print.
SECTIONS = re.findall(
    r"^## `(\w+)`\n(?:(?!^## ).)*?^```sh\n(.*?)^```\n\n```\n(.*?)^```",
    (ROOT / "docs" / "access.md").read_text(),
    re.DOTALL | re.MULTILINE,
)


def test_page_has_a_section_for_every_mode() -> None:
    assert [mode for mode, _, _ in SECTIONS] == ["open", "signed", "keys"]


@pytest.mark.parametrize(("mode", "script", "printed"), SECTIONS, ids=[mode for mode, _, _ in SECTIONS])
def test_a_mode_answers_as_its_section_says(tmp_path: Path, mode: str, script: str, printed: str) -> None:
    variables = {"COPPERPLATE_ACCESS": mode, "COPPERPLATE_URL_SIGNING_KEYS": f"2026-12:{'0123456789abcdef' * 4}"}
    with dev_server(tmp_path / "dev", workers=1, **variables) as server:
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")],
            cwd=ROOT, env=server.environment, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    assert ran.stdout == printed, ran.stderr


def test_figures_are_those_of_the_program() -> None:
    page = " ".join((ROOT / "docs" / "access.md").read_text().split())
    settings = Settings.from_env({"FAL_KEY": "stand-in", "OPENAI_API_KEY": "sk-standin"})
    wall = settings.daily_budget
    assert wall is not None
    anonymous = wall * shares.ANONYMOUS_PERMILLE // 1_000
    caps = [anonymous, anonymous * shares.ADDRESS_PERMILLE // 1_000, wall * shares.USER_PERMILLE // 1_000]
    assert "half of `all`: {} | a tenth of `anonymous`: {} | a tenth of `all`: {}".format(
        *(f"${cap / MICRO:.2f}" for cap in caps)
    ) == " | ".join(re.findall(r"\| ((?:half|a tenth) of `\w+`: \$[0-9.]+) \|", page))
    picture = image_request(prompt="a", width=1024, height=1024, format=PictureFormat.JPG, model=DEFAULT_MODEL)
    for kind in ("image", "memoji"):
        provider = make_provider(kind, settings, SystemClock())
        assert provider is not None
        asked = picture if kind == "image" else memoji_request({}, provider=provider)
        price = provider.price_micro_usd(asked.recipe)
        assert price is not None
        what = f"pictures of one megapixel by `{DEFAULT_MODEL}`" if kind == "image" else "memoji"
        assert f"{wall // price:,} {what} at {dollars(price)}" in page
    assert f"**${wall / MICRO:.2f} a UTC day" in page
    assert f"${31 * wall // MICRO} in a month of 31 days" in page
