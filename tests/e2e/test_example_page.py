"""`examples/browser.html`, as somebody copies it: in a real Chromium, over a Supabase project and a server."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from copperplate.recipes.kinds import IMAGE
from scripts import npm
from tests.e2e.served import serving
from tests.support.browsing import CDN, LIBRARY
from tests.support.supabase_js import check_installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.served import Served
    from tests.standin.server import Standin
    from tests.standin.supabase import Supabase
    from tests.support.browsing import Browser, Site

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "browser.html"


@pytest.fixture
def server(project: Supabase, standin: Standin, tmp_path: Path) -> Iterator[Served]:
    """A server over the project, with fal's stand-in."""
    with serving(
        tmp_path / "server",
        SUPABASE_URL=project.url,
        SUPABASE_SECRET_KEY=project.secret_key,
        FAL_KEY="stand-in",
        COPPERPLATE_FAL_QUEUE_URL=standin.url,
    ) as running:
        yield running


def fill_in(site: Site, *, supabase_url: str, key: str, pictures_url: str) -> str:
    """The address of the example with its three lines filled in."""
    return site.fill_in(EXAMPLE, SUPABASE_URL=supabase_url, PUBLISHABLE_KEY=key, PICTURES_URL=pictures_url)


def test_page_shows_a_picture_and_what_was_saved(
    browser: Browser,
    site: Site,
    library: dict[str, tuple[Path, str]],
    server: Served,
    project: Supabase,
    standin: Standin,
) -> None:
    page = fill_in(site, supabase_url=project.url, key=project.publishable_key, pictures_url=server.url)
    told = browser.visit(
        page,
        ("waitForText", "Calls saved"),
        ("figures",),
        ("picture",),
        ("fill", "What shall the picture show?", "A heron"),
        ("press", "Show it"),
        ("waitForText", "It was made for you."),
        ("picture",),
        ("outline",),
        served=library,
    )
    assert told["errors"] == []
    _, before, nothing, _, _, _, picture, outline = told["seen"]
    assert before["Pictures asked for"] == "0"
    assert nothing["hidden"]
    assert picture == {"alt": "A heron", "hidden": False, "naturalWidth": 512, "naturalHeight": 512}
    # What a screen reader is told.
    for part in ('textbox "What shall the picture show?"', 'button "Show it"', 'img "A heron"', "status: It was made"):
        assert part in outline

    assert server.get("/api/generation/stats").status == 200  # its counts are in the database by then
    again = browser.visit(
        page,
        ("waitForText", "Calls saved"),
        ("figures",),
        ("fill", "What shall the picture show?", "A heron"),
        ("type", "Enter"),
        ("waitForText", "It was in the cache."),
        ("picture",),
        served=library,
    )
    assert again["errors"] == []
    _, figures, *_, picture = again["seen"]
    assert picture["naturalWidth"] == 512
    assert (figures["Pictures asked for"], figures["Pictures paid for"]) == ("1", "1")
    assert len(standin.scenario_log.drawings) == 1


def test_page_says_why_there_is_no_picture_and_when_to_ask_again(
    browser: Browser,
    site: Site,
    library: dict[str, tuple[Path, str]],
    server: Served,
    project: Supabase,
    standin: Standin,
) -> None:
    standin.scenario_log.tell("A heron", "http_500")
    page = fill_in(site, supabase_url=project.url, key=project.publishable_key, pictures_url=server.url)
    told = browser.visit(
        page,
        ("fill", "What shall the picture show?", "A heron"),
        ("press", "Show it"),
        ("waitForText", "There is no picture."),
        ("statuses",),
        ("picture",),
        served=library,
    )
    assert re.search(r"There is no picture\. .+ Try again in \d+ s\.", told["seen"][3][0])
    assert told["seen"][4]["hidden"]


def test_page_with_a_wrong_key_and_a_server_that_is_away_says_so(
    browser: Browser, site: Site, library: dict[str, tuple[Path, str]], project: Supabase
) -> None:
    page = fill_in(
        site, supabase_url=project.url, key="sb_publishable_of_another_project", pictures_url="http://127.0.0.1:9"
    )
    told = browser.visit(
        page,
        ("waitForText", "The figures cannot be had."),
        ("press", "Show it"),
        ("waitForText", "There is no picture."),
        ("statuses",),
        served=library,
    )
    assert told["seen"][3][1].startswith("The figures cannot be had.")


def test_browser_refuses_a_library_that_is_not_the_pinned_one(
    browser: Browser, site: Site, project: Supabase, tmp_path: Path
) -> None:
    altered = tmp_path / "supabase.js"
    altered.write_bytes((npm.MODULES / LIBRARY).read_bytes() + b"\n")
    page = fill_in(site, supabase_url=project.url, key=project.publishable_key, pictures_url="http://127.0.0.1:9")
    told = browser.visit(page, ("title",), served={f"{CDN}**": (altered, "text/javascript")})
    assert any("integrity" in error for error in told["errors"])
    assert any("supabase is not defined" in error for error in told["errors"])


@pytest.fixture
def modules() -> Path:
    """What npm installed."""
    try:
        check_installed()
    except npm.NotInstallable as error:
        pytest.skip(str(error))
    return npm.MODULES


def signing_in() -> list[Path]:
    """The pages that load the library of Supabase."""
    return [page for page in sorted(EXAMPLE.parent.glob("*.html")) if CDN in page.read_text()]


@pytest.mark.parametrize("example", signing_in(), ids=lambda example: example.name)
def test_page_names_the_version_that_is_tested_and_the_digest_of_its_bytes(modules: Path, example: Path) -> None:
    version = json.loads((npm.FOLDER / "package.json").read_text())["devDependencies"]["@supabase/supabase-js"]
    [address] = re.findall(rf'src="{re.escape(CDN)}([^"]+)"', example.read_text())
    assert address == f"{version}/dist/umd/supabase.js"
    digest = base64.b64encode(hashlib.sha384((modules / LIBRARY).read_bytes()).digest()).decode()
    assert re.findall(r'integrity="([^"]+)"', example.read_text()) == [f"sha384-{digest}"]


TYPED = """
import type { SupabaseClient } from "@supabase/supabase-js";
import type { Database } from "./database";
declare global {
  const supabase: { createClient(url: string, key: string): SupabaseClient<Database> };
}
"""
CONFIG = {
    "compilerOptions": {
        "noEmit": True,
        "allowJs": True,
        "checkJs": True,
        "target": "es2022",
        "module": "es2022",
        "moduleResolution": "bundler",
        "lib": ["es2022", "dom", "dom.iterable"],
        "types": [],
        "skipLibCheck": True,
    },
    "include": ["*.ts", "*.js"],
}


def compile_with_types(folder: Path, modules: Path, files: dict[str, str]) -> str:
    """What the TypeScript compiler says of these files beside the types of the database."""
    (folder / "node_modules").symlink_to(modules)
    types = (ROOT / "supabase" / "types" / "database.ts").read_text()
    for name, text in {**files, "database.ts": types, "tsconfig.json": json.dumps(CONFIG)}.items():
        (folder / name).write_text(text)
    done = subprocess.run(
        [modules / ".bin" / "tsc", "--project", folder], capture_output=True, text=True, check=False, timeout=100
    )
    return done.stdout


def script_of_the_page() -> str:
    found = re.search(r'<script type="module">(.*?)</script>', EXAMPLE.read_text(), re.DOTALL)
    assert found
    return found[1]


def test_page_uses_what_the_types_of_the_database_name(modules: Path, tmp_path: Path) -> None:
    files = {"page.js": script_of_the_page() + "\nexport {};\n", "globals.ts": TYPED}
    assert compile_with_types(tmp_path, modules, files) == ""


def test_compiler_would_find_a_figure_that_the_database_does_not_have(modules: Path, tmp_path: Path) -> None:
    wrong = script_of_the_page().replace("data.total_requests", "data.total_wishes")
    said = compile_with_types(tmp_path, modules, {"page.js": wrong + "\nexport {};\n", "globals.ts": TYPED})
    assert "Property 'total_wishes' does not exist" in said


def test_typescript_in_the_documentation_compiles_with_the_types(modules: Path, tmp_path: Path) -> None:
    snippets = re.findall(r"^```ts\n(.*?)^```", (ROOT / "docs" / "supabase.md").read_text(), re.DOTALL | re.MULTILINE)
    assert snippets
    assert f'from("{IMAGE.bucket}")' in "".join(snippets)
    assert compile_with_types(tmp_path, modules, {f"{n}.ts": code for n, code in enumerate(snippets)}) == ""
