"""A real Chromium, driven by playwright-core, and a site for the pages it opens."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scripts import npm
from tests.support.supabase_js import check_installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Served = Mapping[str, tuple[Path, str] | None]

# supabase-js, where examples load it from and where npm puts it.
CDN = "https://cdn.jsdelivr.net/npm/@supabase/supabase-js@"
LIBRARY = Path("@supabase/supabase-js/dist/umd/supabase.js")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """The program."""

    program: str

    def visit(self, address: str, *steps: tuple[str | int, ...], served: Served | None = None) -> dict[str, Any]:
        """What each step saw and what the page's console complained of; tests/node/browse.mjs names the steps.

        `served` has the file and the media type that stand for an address of the internet; None: it does not answer.
        """
        files = [
            {"url": url} if answer is None else {"url": url, "file": str(answer[0]), "type": answer[1]}
            for url, answer in (served or {}).items()
        ]
        told = {"browser": self.program, "page": address, "served": files, "steps": steps}
        script = npm.FOLDER / "browse.mjs"
        done = subprocess.run(
            ["node", script], input=json.dumps(told), capture_output=True, text=True, check=False, timeout=100
        )
        assert done.returncode == 0, done.stderr
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen


@pytest.fixture(scope="session")
def browser() -> Browser:
    """Chromium, where there is one."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    try:
        check_installed()
    except npm.NotInstallable as error:
        pytest.skip(f"no driver for Chromium: {error}")
    return Browser(program=program)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A folder whose files are served at an address."""

    folder: Path
    url: str

    def fill_in(self, example: Path, **lines: str) -> str:
        """The address of an example as somebody copies it, with the values of its constants filled in."""
        page = example.read_text()
        for name, value in lines.items():
            page, count = re.subn(rf'(const {name} = )"[^"]*";', rf'\1"{value}";', page)
            assert count == 1, name
        (self.folder / "index.html").write_text(page)
        return f"{self.url}/index.html"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty site."""
    folder = tmp_path / "site"
    folder.mkdir()
    with serving_files(folder) as running:
        yield running


@contextmanager
def serving_files(folder: Path) -> Iterator[Site]:
    """A site of what lies in a folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as files:
        threading.Thread(target=files.serve_forever, daemon=True).start()
        yield Site(folder=folder, url=f"http://127.0.0.1:{files.server_address[1]}")
        files.shutdown()


@pytest.fixture
def library(browser: Browser) -> dict[str, tuple[Path, str]]:
    """The pinned supabase-js, in place of the content delivery network."""
    return {f"{CDN}**": (npm.MODULES / LIBRARY, "text/javascript")}
