"""What `copperplate doctor` says of copies on disk and in CDNs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.copy_folder import FOLDER
from copperplate.adapters.system_clock import SystemClock
from copperplate.doctor import Level, examine
from copperplate.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

# The database is not looked at where its setting is faulty.
FAULTS = {"DATABASE_URL": "DATABASE_URL must be another one"}


async def _examine(what: str, **environ: str) -> list[tuple[Level, str]]:
    examined = examine(Settings.from_env(environ), SystemClock(), faults=FAULTS)
    return [(each.level, each.detail) async for each in examined if each.what == what]


@pytest.mark.parametrize("what", ["file", "writable", "parent is a file"])
async def test_folder_that_cannot_be_used_is_named(tmp_path: Path, what: str) -> None:
    parent, folder = tmp_path, tmp_path / FOLDER
    if what == "writable":
        folder.mkdir()
        folder.chmod(0o777)
    else:
        folder.write_bytes(b"")
        parent = folder if what == "parent is a file" else tmp_path
    [(level, detail)] = await _examine("disk", COPPERPLATE_DISK_CACHE_DIR=str(parent))
    assert level is Level.WARNING
    assert str(folder) in detail
    assert await _examine("disk", COPPERPLATE_DISK_CACHE_DIR=str(parent), COPPERPLATE_DISK_CACHE_MB="0") == []


async def test_folder_that_is_not_there_yet_is_well_and_is_not_made(tmp_path: Path) -> None:
    assert await _examine("disk", COPPERPLATE_DISK_CACHE_DIR=str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


async def test_token_of_vercel_without_its_project_is_warned_of() -> None:
    token = {"COPPERPLATE_VERCEL_TOKEN": "t" * 24}
    [(level, detail)] = await _examine("cdn", **token)
    assert (level, "VERCEL_PROJECT_ID" in detail) == (Level.WARNING, True)
    assert await _examine("cdn", **token, VERCEL_PROJECT_ID="prj_1") == []
