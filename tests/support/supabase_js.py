"""The real supabase-js, run by node: what a front end meets."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from scripts import npm


@dataclass(frozen=True, slots=True, kw_only=True)
class JsAnswer:
    """What one call came to: `data`, or an error's `code` and words."""

    data: Any
    code: str | None
    status: int | None
    message: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SupabaseJs:
    """A client of one project, with one key; `token` is that of a person who signed in."""

    url: str
    key: str
    token: str | None = None

    def ask(self, *calls: tuple[Any, ...]) -> list[JsAnswer]:
        """The answers to some calls, such as `("rpc", "get_cache_stats")`; tests/node/supabase_js.mjs names them."""
        asked = json.dumps({"url": self.url, "key": self.key, "token": self.token, "calls": calls})
        script = npm.FOLDER / "supabase_js.mjs"
        done = subprocess.run(["node", script], input=asked, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return [JsAnswer(**answer) for answer in json.loads(done.stdout)]


def check_installed() -> None:
    """Raises `npm.NotInstallable` where there is no node, or nothing to run with it."""
    if shutil.which("node") is None:
        raise npm.NotInstallable("node is not installed")
    npm.install()
