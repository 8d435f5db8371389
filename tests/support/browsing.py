"""A real Chromium, driven by playwright-core."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from scripts import npm
from tests.support.supabase_js import check_installed

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """The program."""

    program: str

    def visit(self, address: str, *steps: tuple[str, ...], served: dict[str, tuple[Path, str]]) -> dict[str, Any]:
        """What each step saw and what the page's console complained of; tests/node/browse.mjs names the steps.

        `served` has the file and the media type that stand for an address of the internet.
        """
        files = [{"url": url, "file": str(file), "type": type_} for url, (file, type_) in served.items()]
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
