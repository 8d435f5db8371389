"""Pictures on pages of another origin, in a real Chromium: the app of Next.js as it is built, and a canvas's pixels."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image

from scripts import npm
from tests.e2e.served import serving
from tests.support.browsing import serving_files
from tests.support.postgres_fixtures import making_databases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copperplate.local.cluster import Cluster
    from tests.e2e.served import Served
    from tests.support.browsing import Browser, Site
    from tests.support.typescript_client import TypescriptClient

PAGE = (npm.ROOT / "docs" / "front-ends.md").read_text()
BUILD_SECONDS = 250
NARROW, WIDE = 360, 1_400


@pytest.fixture(scope="module")
def server(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that paints."""
    with making_databases(cluster) as make_database:
        url = cluster.url(database=make_database())
        with serving(tmp_path_factory.mktemp("front-ends") / "server", DATABASE_URL=url) as running:
            yield running


@pytest.fixture(scope="module")
def app(server: Served) -> Iterator[Site]:
    """`examples/nextjs`, built for that server as its README says, and served as files."""
    try:
        npm.install(npm.NEXTJS)
    except npm.NotInstallable as error:
        pytest.skip(f"no Next.js: {error}")
    variables = {"NEXT_PUBLIC_PICTURES_URL": server.url, "NEXT_TELEMETRY_DISABLED": "1", "CI": "1"}
    done = subprocess.run(
        ["npm", "run", "build"],
        cwd=npm.NEXTJS,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with serving_files(npm.NEXTJS / "out") as running:
        yield running


def paid(server: Served) -> int:
    stats = httpx.get(f"{server.url}/api/generation/stats").json()["stats"]
    made: int = stats["total_api_calls_made"]
    return made


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    found = image.getpixel((x, y))
    assert isinstance(found, tuple)
    return found


def colours(picture: dict[str, Any]) -> tuple[int, tuple[int, ...]]:
    """How many colours an element shows, and their mean."""
    shown = Image.open(io.BytesIO(base64.b64decode(picture["painted"]))).convert("RGB")
    mean = pixel(shown.resize((1, 1), Image.Resampling.BOX), 0, 0)
    return len(shown.resize((64, 64)).getcolors(64 * 64) or ()), mean


def chosen_width(picture: dict[str, Any]) -> int:
    found = re.search(r"[?&]w=(\d+)", picture["currentSrc"])
    assert found, picture["currentSrc"]
    return int(found[1])


def test_app_shows_the_rung_that_fits_the_screen_and_pays_for_each_picture_once(
    browser: Browser, app: Site, server: Served
) -> None:
    narrow_page = (("resize", NARROW, 800), ("open", app.url), ("pictures",))
    wide_page = (("resize", WIDE, 900), ("open", app.url), ("pictures",))
    told = browser.visit("about:blank", *narrow_page, *wide_page)
    # A placeholder of a picture that is not made yet is not found; Chromium tells of it.
    assert [error for error in told["errors"] if "404" not in error] == []
    narrow, wide = told["seen"][2], told["seen"][5]
    for fox, sea in (narrow, wide):
        assert (fox["alt"], sea["alt"]) == ("A red fox", "A lighthouse by the sea")
        for picture, ratio in ((fox, 4 / 3), (sea, 16 / 9)):
            assert colours(picture)[0] > 50  # a picture, not a colour or a broken image
            assert picture["clientWidth"] / picture["clientHeight"] == pytest.approx(ratio, rel=0.01)
            assert picture["naturalWidth"] / picture["naturalHeight"] == pytest.approx(ratio, rel=0.01)
        assert ".webp?" in fox["currentSrc"]
        assert ".webp?" in sea["currentSrc"]
    assert [chosen_width(picture) for picture in narrow] == [384, 384]
    assert [chosen_width(picture) for picture in wide] == [1024, 1024]
    assert all(picture["clientWidth"] > NARROW for picture in wide)
    assert paid(server) == 2


def test_app_shows_the_placeholders_until_the_pictures_are_there(browser: Browser, app: Site) -> None:
    shown = browser.visit(app.url, ("pictures",))["seen"][0]
    # What has a width is the picture, and does not arrive.
    waiting = browser.visit(app.url, ("pictures",), served={"**&w=*": None})["seen"][0]
    for picture, placeholder in zip(shown, waiting, strict=True):
        assert placeholder["naturalWidth"] == 0
        assert placeholder["clientHeight"] == picture["clientHeight"]  # nothing moves when it comes
        assert colours(placeholder)[0] > 50
        assert colours(placeholder)[1] == pytest.approx(colours(picture)[1], abs=25)


def test_optimizer_of_the_pinned_next_still_waits_seven_seconds_as_the_page_says(app: Site) -> None:
    source = (npm.NEXTJS / "node_modules" / "next" / "dist" / "server" / "image-optimizer.js").read_text()
    assert re.search(r"const agentOptions = \{[^}]*timeout: 7000\b", source)
    assert "AbortSignal.timeout(agentOptions.timeout)" in source


def test_pages_of_other_origins_read_pixels_of_every_format_from_a_canvas(
    browser: Browser, server: Served, site: Site, typescript: TypescriptClient
) -> None:
    (site.folder / "index.html").write_text("<!doctype html><title>A canvas</title>")
    addresses = [f"{server.url}/256x192.{ending}?text=a%20boat" for ending in ("png", "jpg", "webp", "avif", "auto")]
    addresses += [f"{server.url}/256x192.webp?text=a%20boat&w=96"]
    by_key = f"{server.url}/api/images/{httpx.get(addresses[0]).headers['x-copperplate-key']}"
    addresses += [by_key, f"{by_key}?format=auto"]
    asked = [{"src": src, "width": 90} for src in (addresses[1], by_key, f"{by_key}?format=webp")]
    loaded = [made["answer"] for made in typescript.build(*(("loader", each) for each in asked))]
    assert {httpx.get(url).headers["content-type"] for url in loaded} == {"image/jpeg", "image/png", "image/webp"}
    assert all(url.endswith("w=96") for url in loaded)
    addresses += loaded
    told = browser.visit(
        f"{site.url}/index.html",
        *[("quarters", url, "anonymous") for url in addresses],
        ("quarters", addresses[0], ""),
    )
    *read, refused = told["seen"]
    original = Image.open(io.BytesIO(httpx.get(addresses[0]).content)).convert("RGB")
    drawn = [pixel(original, 64 + 128 * (n % 2), 48 + 96 * (n // 2)) for n in range(4)]
    assert read[0] == [list(colour) for colour in drawn]
    assert len(set(drawn)) > 1
    for url, pixels in zip(addresses, read, strict=True):
        assert pixels == [pytest.approx(colour, abs=40) for colour in drawn], url
    assert refused == "SecurityError"  # without crossorigin a browser lets no page read them


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_picture_of_the_page_is_painted_in_each_format(browser: Browser, server: Served, site: Site) -> None:
    by_hand = snippets("html")[0].replace("https://pictures.example.com", server.url)
    plain = re.sub(r"<source.*?>", "", by_hand, flags=re.DOTALL)
    style = "<!doctype html><meta name=viewport content='width=device-width'><style>body { margin: 0 }</style>"
    (site.folder / "index.html").write_text(style + by_hand + plain)
    page = f"{site.url}/index.html"
    told = browser.visit("about:blank", ("resize", NARROW, 800), ("open", page), ("pictures",))
    addresses = [picture["currentSrc"] for picture in told["seen"][2]]
    assert [re.findall(r"\.(webp|jpg)\?.*&w=(\d+)", url) for url in addresses] == [
        [("webp", "384")],
        [("jpg", "640")],
    ]
    assert all(colours(picture)[0] > 50 for picture in told["seen"][2])
    assert {picture["clientHeight"] for picture in told["seen"][2]} == {NARROW * 3 // 4}


def test_pixels_of_the_page_are_read_from_a_canvas(browser: Browser, server: Served, site: Site) -> None:
    page = snippets("html")[1].replace("https://pictures.example.com", server.url)
    (site.folder / "index.html").write_text("<!doctype html>" + page)
    told = browser.visit(f"{site.url}/index.html", ("picture",), ("title",))
    assert told["seen"][1] == f"{256 * 192} pixels"


def test_typescript_of_the_page_compiles(tmp_path: Path) -> None:
    try:
        modules = npm.install(npm.NEXTJS)
    except npm.NotInstallable as error:
        pytest.skip(f"no TypeScript: {error}")
    (tmp_path / "node_modules").symlink_to(modules)
    paths = {"@client/*": [str(npm.ROOT / "client" / "*")]}
    options = {"paths": paths, "incremental": False, "preserveSymlinks": True}
    config = {"extends": str(npm.NEXTJS / "tsconfig.json"), "compilerOptions": options, "include": ["*.ts", "*.tsx"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    files = {
        f"{number}.{language}": code for language in ("ts", "tsx") for number, code in enumerate(snippets(language))
    }
    assert len(files) >= 6
    for name, code in files.items():
        (tmp_path / name).write_text(code)
    command = (str(modules / ".bin" / "tsc"), "--project", str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.stdout == ""
