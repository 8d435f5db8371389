"""`purge --with-children` and `takedown` of a picture from which others were made, as a person runs them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from copperplate.compose import open_backend
from copperplate.settings import Settings
from tests.contract.ledger.harness import complete
from tests.contract.ledger.lineage import LAST, LAST_SOURCE, MIDDLE, MIDDLE_SOURCE, ROOT
from tests.e2e.test_cli import run
from tests.e2e.test_operations import deployment, run_on_a_terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["deployment"]
KEY = ROOT.generation_key


def make_line(variables: dict[str, str]) -> None:
    """A picture, what was made from a rectangle of it, and what was made from that."""

    async def make() -> None:
        async with open_backend(Settings.from_env(variables)) as (ledger, _):
            await complete(ledger, ROOT, "root")
            for noted, made in ((MIDDLE_SOURCE, MIDDLE), (LAST_SOURCE, LAST)):
                await ledger.note_source(noted, owner="key:a")
                await complete(ledger, made, made.generation_key)

    asyncio.run(make())


def kept(variables: dict[str, str]) -> list[str]:
    async def look() -> Sequence[Any]:
        async with open_backend(Settings.from_env(variables)) as (ledger, _):
            return await ledger.lineage(KEY)

    return [node.generation_key for node in asyncio.run(look())]


def test_a_purge_tells_of_children_shows_them_and_removes_them(deployment: dict[str, str]) -> None:
    make_line(deployment)
    alone = run("purge", "--key", KEY, "--dry-run", "--json", **deployment)
    assert (json.loads(alone.stdout)["generations"], json.loads(alone.stdout)["children"]) == (1, 2)
    assert "--with-children" in alone.stderr
    shown = run("purge", "--key", KEY, "--with-children", "--dry-run", **deployment)
    assert [line.rstrip() for line in shown.stdout.splitlines()[-3:]] == [
        f"{KEY[:12]}  image  1,000 bytes",
        f"  {MIDDLE.generation_key[:12]}  processed remove-background  1,000 bytes",
        f"    {LAST.generation_key[:12]}  processed upscale  1,000 bytes",
    ]
    assert len(kept(deployment)) == 3
    run("pin", MIDDLE.generation_key, **deployment)
    done = json.loads(run("purge", "--key", KEY, "--with-children", "--yes", "--json", **deployment).stdout)
    assert (done["generations"], done["children"], done["pinned"]) == (2, 1, 1)
    meant = run("purge", "--key", MIDDLE.generation_key, "--with-children", "--yes", "--json", **deployment)
    assert json.loads(meant.stdout)["generations"] == 1


def test_a_takedown_says_how_many_it_takes_with_it_and_is_lifted_with_them(deployment: dict[str, str]) -> None:
    make_line(deployment)
    code, _, said = run_on_a_terminal("n", "takedown", KEY, **deployment)
    assert (code, "of 1 generation and 2 made from it" in said) == (1, True)
    taken = json.loads(run("takedown", KEY, "--yes", "--json", **deployment).stdout)
    assert (taken["generations"], taken["descendants"]) == (3, 2)
    alone = run("takedown", "--lift", LAST.generation_key, **deployment)
    assert (alone.returncode, "lifted with that" in alone.stderr) == (1, True)
    assert run("takedown", "--lift", KEY, **deployment).returncode == 0
    make_line(deployment)
    assert len(kept(deployment)) == 3


def test_bytes_are_taken_down_by_their_digest(deployment: dict[str, str]) -> None:
    make_line(deployment)
    code, _, said = run_on_a_terminal("n", "takedown", MIDDLE_SOURCE.digest, **deployment)
    assert (code, "1 pictures made from these bytes" in said) == (1, True)
    taken = run("takedown", MIDDLE_SOURCE.digest, "--yes", **deployment)
    assert f"nothing is made of the bytes {MIDDLE_SOURCE.digest} any more" in taken.stderr
    assert kept(deployment) == [KEY]
