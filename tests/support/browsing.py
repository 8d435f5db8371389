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


# More than any visit takes.
VISIT_SECONDS = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """One running program, which is somebody else's at each visit: nothing of a visit is left for the next."""

    program: str
    driver: subprocess.Popen[str]

    def visit(self, address: str, *steps: tuple[str | int, ...], served: Served | None = None) -> dict[str, Any]:
        """What each step saw and what the page's console complained of; tests/node/browse.mjs names the steps.

        `served` has the file and the media type that stand for an address of the internet; None: it does not answer.
        """
        files = [
            {"url": url} if answer is None else {"url": url, "file": str(answer[0]), "type": answer[1]}
            for url, answer in (served or {}).items()
        ]
        told = {"browser": self.program, "page": address, "served": files, "steps": steps}
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        too_late = threading.Timer(VISIT_SECONDS, self.driver.kill)
        too_late.start()
        try:
            self.driver.stdin.write(json.dumps(told) + "\n")
            self.driver.stdin.flush()
            line = self.driver.stdout.readline()
        finally:
            too_late.cancel()
        assert line, "the browser's driver ended"
        seen: dict[str, Any] = json.loads(line)
        assert "failed" not in seen, seen["failed"]
        return seen


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, where there is one; launched at the first visit."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    try:
        check_installed()
    except npm.NotInstallable as error:
        pytest.skip(f"no driver for Chromium: {error}")
    command = ["node", str(npm.FOLDER / "browse.mjs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        yield Browser(program=program, driver=driver)
        assert driver.stdin is not None
        # Its end lets Chromium go.
        driver.stdin.close()
        driver.wait(timeout=30)


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
        # A stop is noticed within that many seconds.
        threading.Thread(target=files.serve_forever, args=(0.02,), daemon=True).start()
        yield Site(folder=folder, url=f"http://127.0.0.1:{files.server_address[1]}")
        files.shutdown()


@pytest.fixture
def library(browser: Browser) -> dict[str, tuple[Path, str]]:
    """The pinned supabase-js, in place of the content delivery network."""
    return {f"{CDN}**": (npm.MODULES / LIBRARY, "text/javascript")}
