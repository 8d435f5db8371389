"""Colours as a browser shows them: every way of a file to mean them, beside Chromium's pixels of the same file."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from copperplate.imaging import icc
from copperplate.imaging.decode import decode
from copperplate.imaging.header import read_header
from tests.support import colour_cases
from tests.support.browsing import NAMES
from tests.support.colour_cases import P3, PATCH_PX, PATCHES, all_cases, gama, iccp, png

if TYPE_CHECKING:
    from pathlib import Path

Pixel = tuple[int, int, int]
# Levels of 255. Rounding is two; half-transparent colours beyond sRGB differ by five, since a browser cuts them to what
# the screen can show after it has laid them on the page, and a file holds them cut before.
LEVELS, LEVELS_OF_GLASS = 3, 6
PAPERS = ("white", "black")
PAGE = """<!doctype html><body>%s<script>
onload = () => {
  const seen = {};
  for (const image of document.images) {
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d");
    seen[image.alt] = ["white", "black"].flatMap((paper) => {
      context.fillStyle = paper;
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(image, 0, 0);
      const row = context.getImageData(0, canvas.height / 2, canvas.width, 1).data;
      const places = Array.from({ length: %d }, (_, patch) => 4 * (%d * patch + 4));
      return places.map((place) => Array.from(row.slice(place, place + 3)));
    });
  }
  document.body.textContent = JSON.stringify(seen);
};
</script></body>"""


def shown_by_chromium(folder: Path) -> dict[str, list[Pixel]]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    images = "".join(
        f'<img alt="{name}" src="data:{media_type};base64,{base64.b64encode(body).decode()}">'
        for name, (body, media_type) in all_cases().items()
    )
    (folder / "page.html").write_text(PAGE % (images, len(PATCHES), PATCH_PX))
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--force-color-profile=srgb",
    )
    done = subprocess.run(
        [program, *flags, f"--user-data-dir={folder / 'profile'}", "--dump-dom", (folder / "page.html").as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    found = re.search(r"<body>(\{.*\})</body>", done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    seen: dict[str, list[list[int]]] = json.loads(html.unescape(found[1]))
    return {name: [(red, green, blue) for red, green, blue in pixels] for name, pixels in seen.items()}


def shown_by_us(body: bytes) -> list[Pixel]:
    image = decode(body, read_header(body), 64)
    pixels: list[Pixel] = []
    for colour in PAPERS:
        paper = Image.new("RGB", image.size, colour)
        paper.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
        row = paper.crop((0, PATCH_PX // 2, paper.width, PATCH_PX // 2 + 1)).tobytes()
        starts = [3 * (PATCH_PX * patch + 4) for patch in range(len(PATCHES))]
        pixels += [(row[start], row[start + 1], row[start + 2]) for start in starts]
    return pixels


def distance(ours: list[Pixel], theirs: list[Pixel]) -> int:
    return max(abs(a - b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True))


def test_every_way_to_mean_a_colour_is_shown_as_chromium_shows_it(tmp_path: Path) -> None:
    theirs = shown_by_chromium(tmp_path)
    cases = all_cases()
    assert theirs.keys() == cases.keys()
    apart = {name: distance(shown_by_us(body), theirs[name]) for name, (body, _) in cases.items()}
    is_glass = re.compile("alpha|rgba|palette.*trns")
    far = {name: by for name, by in apart.items() if by > (LEVELS_OF_GLASS if is_glass.search(name) else LEVELS)}
    assert far == {}


# What the comparison rests on, also where there is no Chromium.


def patch_of(body: bytes, number: int) -> Pixel:
    return shown_by_us(body)[number]


def test_transparency_outlives_a_profile() -> None:
    rgb = colour_cases.colour_types((iccp(P3),))["rgb trns"]
    assert shown_by_us(rgb)[3] == (255, 255, 255)
    assert shown_by_us(rgb)[len(PATCHES) + 3] == (0, 0, 0)


def test_sixteen_bits_of_grey_keep_their_transparency() -> None:
    assert shown_by_us(colour_cases.colour_types(())["grey 16 trns"])[3] == (255, 255, 255)


@pytest.mark.parametrize(("chunks", "shown"), [((), 127), ((gama(1.0),), 187), ((gama(1.0), colour_cases.SRGB), 127)])
def test_gamma_is_applied_unless_srgb_is_said(chunks: tuple[bytes, ...], shown: int) -> None:
    (red, green, blue), *_ = shown_by_us(png(2, 8, [(127, 127, 127)] * len(PATCHES), *chunks))
    assert red == green == blue
    assert abs(red - shown) <= 1


@pytest.mark.parametrize("name", ["p3 profile", "cicp p3", "p3 chromaticities and gamma 2.2"])
def test_green_of_p3_is_not_the_green_of_srgb(name: str) -> None:
    brown = patch_of(colour_cases.colour_types(colour_cases.COLOURS[name])["rgb"], 3)
    assert brown[0] >= 210
    assert brown[2] <= 46


@pytest.mark.parametrize(
    "points",
    [((0.0, 0.0),) * 3, ((0.3, 0.3),) * 3, ((0.64, 0.33), (0.3, 0.0), (0.15, 0.06))],
    ids=["zeros", "one point", "no y"],
)
def test_chromaticities_that_span_nothing_make_no_profile(points: tuple[tuple[float, float], ...]) -> None:
    assert icc.matrix_profile(points, icc.WHITE_D65, (2.2,)) is None
    assert shown_by_us(png(2, 8, PATCHES, gama(0.45455), colour_cases.chrm(points)))[0] == PATCHES[0]
