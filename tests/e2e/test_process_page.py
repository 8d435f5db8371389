"""`examples/process.html`, as somebody copies it: in a real Chromium, over a server with the painter."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import shutil
import subprocess
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image, ImageDraw

from tests.e2e.dev_server import dev_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.dev_server import DevServer
    from tests.support.browsing import Browser, Site

WRITTEN = Path(__file__).parents[2] / "docs" / "processing.md"
EXAMPLE = Path(__file__).parents[2] / "examples" / "process.html"
CHOOSE, HASHED = "Choose a picture", re.compile(r"sha256 ([0-9a-f]{64})")
SIZE = (240, 160)
BLUE, RED, WHITE = (20, 60, 200), (220, 40, 30), (255, 255, 255)
UPSCALE = "Upload and upscale · free"
NOTHING_SENT = "Known. Nothing was uploaded, nothing paid."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    with dev_server(
        tmp_path_factory.mktemp("process") / "dev", workers=1, COPPERPLATE_PAINTER_SECONDS="0.3"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def key(server: DevServer) -> str:
    return str(json.loads(server.run("keys", "create", "--name", "page", "--json").stdout)["key"])


@dataclass(frozen=True, slots=True)
class Page:
    """The example, opened anew for each visit, and what reached its server since the test began."""

    browser: Browser
    address: str
    server: DevServer
    key: str
    begins_at: int

    def visit(self, *steps: tuple[str | int, ...]) -> list[Any]:
        """What each step saw. That nothing is stored at an address (404) is no complaint."""
        told = self.browser.visit(self.address, *steps)
        assert [error for error in told["errors"] if "404" not in error] == []
        seen: list[Any] = told["seen"]
        return seen

    def with_key(self, *steps: tuple[str | int, ...]) -> list[Any]:
        """The same for a caller with a name."""
        return self.visit(("fill", "API key", self.key), *steps)[1:]

    def posts(self) -> list[str]:
        """How each POST that the server answered came out."""
        lines = self.server.log.read_text()[self.begins_at :]
        return re.findall(r"copperplate\.requests method=POST status=\d+ outcome=(\S+)", lines)


@pytest.fixture
def page(browser: Browser, site: Site, server: DevServer, key: str) -> Page:
    address = site.fill_in(EXAMPLE, PICTURES_URL=f"http://127.0.0.1:{server.port}")
    return Page(browser, address, server, key, len(server.log.read_text()))


@pytest.fixture
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A red square on blue, another picture for every test."""
    picture = Image.new("RGB", SIZE, BLUE)
    ImageDraw.Draw(picture).rectangle((90, 50, 150, 110), RED)
    red, green, blue = hashlib.sha256(request.node.name.encode()).digest()[:3]
    picture.putpixel((120, 80), (red, green, blue))
    target = tmp_path / "mountains.png"
    picture.save(target)
    return target


def large(target: Path) -> Path:
    """A picture of some hundred kilobytes."""
    noise = random.Random(1).randbytes(400 * 300 * 3)
    Image.frombytes("RGB", (400, 300), noise).save(target)
    return target


def test_a_picture_that_is_brought_again_by_another_name_sends_no_body(page: Page, file: Path) -> None:
    again = str(shutil.copy(file, file.with_name("holiday.png")))
    first = page.with_key(
        ("bring", CHOOSE, str(file)),
        ("waitForText", "New: nobody has had this done to it yet."),
        ("press", UPSCALE),
        ("waitForText", "Made for you."),
        ("statuses",),
        ("outline",),
    )
    assert first[4] == ["Made for you. The result is private to you; its address is good for 10 minutes."]
    assert hashlib.sha256(file.read_bytes()).hexdigest() in first[5]
    assert "480 × 320, png" in first[5]
    assert page.posts() == ["-"]
    second = page.with_key(
        ("drop", "drop one here", again, "image/png"), ("waitForText", NOTHING_SENT), ("texts", "listitem")
    )
    assert second[2][0].startswith("holiday.png, ")
    assert second[2][1:] == ["Upscaled, 480 × 320, kept there"]
    assert page.posts() == ["-"]


def test_the_slider_shows_the_picture_before_on_its_left_and_after_on_its_right(page: Page, file: Path) -> None:
    slide = "Where before ends and after begins"
    seen = page.with_key(
        ("check", "Remove background"),
        ("bring", CHOOSE, str(file)),
        ("waitForText", "New:"),
        ("press", "Upload and remove background"),
        ("waitForText", "Made for you."),
        ("painted", "group", "Before and after"),
        ("fill", slide, "100"),
        ("painted", "group", "Before and after"),
        ("fill", slide, "0"),
        ("painted", "group", "Before and after"),
    )
    half, before, after = (Image.open(BytesIO(base64.b64decode(seen[step]))).convert("RGB") for step in (5, 7, 9))

    def is_blue(picture: Image.Image, x: float) -> bool:
        pixel = picture.getpixel((int(picture.width * x), 10))
        assert isinstance(pixel, tuple)
        return pixel[2] > pixel[0] + 100

    sides = (0.1, 0.8)
    assert [[is_blue(each, x) for x in sides] for each in (before, half, after)] == [
        [True, True],
        [True, False],
        [False, False],
    ]


def test_a_second_step_from_the_result_uploads_nothing(page: Page, file: Path) -> None:
    seen = page.with_key(
        ("bring", CHOOSE, str(file)),
        ("waitForText", "New:"),
        ("press", UPSCALE),
        ("waitForText", "Made for you."),
        ("press", "Go on with the result"),
        ("waitForText", "It is kept there. Nothing has to be uploaded."),
        ("check", "Remove background"),
        ("press", "Upload nothing and remove background"),
        ("waitForText", "Made for you. Nothing was uploaded."),
        ("texts", "listitem"),
    )
    assert seen[-1][1:] == ["Upscaled, 480 × 320, kept there", "Background removed, 480 × 320, kept there"]
    assert page.posts() == ["-", "-"]


def test_a_crop_has_no_hash_until_the_next_step_and_is_another_picture(page: Page, file: Path) -> None:
    seen = page.with_key(
        ("bring", CHOOSE, str(file)),
        ("waitForText", "New:"),
        ("outline",),
        ("fill", "Width", "100"),
        ("fill", "Height", "1.5"),
        ("press", "Crop"),
        ("waitForText", "Failed: the rectangle has whole pixels, and sides of at least 16."),
        ("fill", "Height", "80"),
        ("press", "Crop"),
        ("waitForText", "Cropped."),
        ("outline",),
        ("press", "Hash it and ask"),
        ("waitForText", "New:"),
        ("outline",),
        ("press", UPSCALE),
        ("waitForText", "Made for you."),
        ("texts", "listitem"),
    )
    whole, cropped, hashed = (seen[step] for step in (2, 10, 13))
    assert "sha256 null" in without_marks(cropped)
    hashes = [HASHED.findall(without_marks(outline)) for outline in (whole, hashed)]
    assert hashes[0] == [hashlib.sha256(file.read_bytes()).hexdigest()]
    assert len(hashes[1]) == 1
    assert hashes[0] != hashes[1]
    assert seen[-1][1:] == ["Cropped to 100 × 80, on this device", "Upscaled, 200 × 160, kept there"]


def without_marks(outline: str) -> str:
    """The text of an outline, without the marks of its code."""
    return re.sub(r"\s*\n\s*- (?:code|text): ", " ", outline).replace('"', "")


def test_what_is_not_taken_is_told_before_anything_is_sent(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.pdf").write_bytes(b"%PDF-1.7")
    with (tmp_path / "large.png").open("wb") as sparse:
        sparse.truncate(33_554_433)
    seen = page.visit(
        ("bring", CHOOSE, str(large(tmp_path / "chosen.png"))),
        ("waitForText", "New:"),
        ("bring", CHOOSE, str(tmp_path / "notes.pdf")),
        ("waitForText", "notes.pdf is not taken"),
        ("statuses",),
        ("outline",),
        ("bring", CHOOSE, str(tmp_path / "large.png")),
        ("waitForText", "large.png has"),
        ("statuses",),
    )
    assert seen[4] == ["Failed: notes.pdf is not taken. Send a JPEG, PNG, WebP, AVIF or GIF."]
    # What was chosen before is not what would be sent.
    assert 'button "Choose a picture first" [disabled]' in seen[5]
    assert "sha256" not in seen[5]
    assert seen[8] == ["Failed: large.png has 33.6 MB. At most 33.6 MB are taken."]
    assert page.posts() == []


def test_an_upload_can_be_canceled_and_nothing_is_made(page: Page, tmp_path: Path) -> None:
    seen = page.with_key(
        ("slowUploads", 40_000),
        ("bring", CHOOSE, str(large(tmp_path / "noise.png"))),
        ("waitForText", "New:"),
        ("press", UPSCALE),
        ("waitForText", "Uploading:"),
        ("press", "Cancel"),
        ("waitForText", "Canceled."),
        ("focus",),
    )
    assert seen[-1] == "go"
    assert "generated" not in page.posts()
    assert "status=pending" not in page.server.log.read_text()[page.begins_at :]


def test_a_caller_without_a_name_is_shown_what_they_bring(page: Page, file: Path) -> None:
    again = str(shutil.copy(file, file.with_name("holiday.png")))
    seen = page.visit(
        ("bring", CHOOSE, str(file)),
        ("waitForText", "New:"),
        ("press", UPSCALE),
        ("waitForText", "Made for you."),
        ("bring", CHOOSE, again),
        ("waitForText", "Known: somebody brought it before."),
        ("press", UPSCALE),
        ("waitForText", "Known. It was made before, and nothing was paid."),
        ("texts", "listitem"),
        ("press", "Go on with the result"),
        ("waitForText", "New:"),
        ("press", UPSCALE),
        ("waitForText", "Made for you."),
        ("texts", "listitem"),
    )
    assert seen[8][-1] == "Upscaled, 480 × 320, kept there"
    assert seen[-1][-1] == "Upscaled, 960 × 640, kept there"
    assert page.posts() == ["generated", "hit", "generated"]


def test_page_works_by_keyboard(page: Page, file: Path) -> None:
    seen = page.with_key(
        ("bring", CHOOSE, str(file)),
        ("waitForText", "New:"),
        *[("type", "Tab")] * 2,
        ("type", "ArrowUp"),
        ("waitForText", "Upload and remove background"),
        ("type", "Tab"),
        ("type", "Enter"),
        ("waitForText", "Made for you."),
        ("focus",),
    )
    assert seen[-1] == "go"


# Of the file twice: the statuses of all answers, and what the page's function returned. It is made behind a 202.
SNIPPET_IN_NODE = """
const [file, token] = process.argv.slice(1), statuses = [], asked = fetch;
globalThis.fetch = async (address, { headers, ...others }) => {
  const answer = await asked(address, { ...others, headers: { ...headers, prefer: "respond-async" } });
  statuses.push(answer.status);
  return answer;
};
(async () => {
  const bytes = await require("node:fs/promises").readFile(file);
  const made = await upscaled(new File([bytes], "a.png"));
  const known = await upscaled(new File([bytes], "b.png"));
  console.log(JSON.stringify({ statuses, urls: [made.url, known.url] }));
})();
"""


def test_the_function_of_the_page_waits_for_what_is_promised_and_uploads_once(server: DevServer, file: Path) -> None:
    snippet = WRITTEN.read_text().partition("## In a browser")[2].partition("```js\n")[2].partition("```")[0]
    snippet = snippet.replace("https://pictures.example.com", f"http://127.0.0.1:{server.port}")
    token = server.run("token", "--user", "11111111-1111-1111-1111-111111111111").stdout.strip()
    code = snippet.replace("`Bearer ${token}`", "`Bearer ${process.argv[2]}`") + SNIPPET_IN_NODE
    ran = subprocess.run(["node", "-e", code, str(file), token], capture_output=True, text=True, timeout=60, check=True)
    told = json.loads(ran.stdout)
    first, promised, *looks, again = told["statuses"]
    assert (first, promised, set(looks), again) == (404, 202, {200}, 200)
    for url in told["urls"]:
        assert Image.open(BytesIO(httpx.get(url).content)).size == (480, 320)
