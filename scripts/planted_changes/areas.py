"""What changes are drawn from: areas of the source and every SQL function, drawn evenly by a seed."""

from __future__ import annotations

import hashlib
from itertools import groupby, zip_longest
from typing import TYPE_CHECKING, Final

from scripts.planted_changes.change import Change, occurrence_at
from scripts.planted_changes.python_rules import python_edits
from scripts.planted_changes.sql_rules import sql_edits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

CORE = "src/copperplate/"
# Globs of the files of each area of the Python source.
PYTHON_AREAS: Final = {
    "coordinator": (
        "generation/coordinator.py",
        "generation/lookup.py",
        "single_flight.py",
        "adapters/notifier.py",
    ),
    "leader": (
        "generation/leader.py",
        "generation/attempt.py",
        "generation/failed_attempts.py",
        "generation/digests.py",
    ),
    "lease": ("generation/lease.py", "generation/retry_policy.py", "generation/timings.py", "repeats.py"),
    "uploads": (
        "generation/uploader.py",
        "generation/unstored_pictures.py",
        "generation/pending_uploads.py",
        "generation/losses.py",
    ),
    "collecting": ("generation/job_collector.py", "refusals.py", "generation/kinds.py"),
    "serving": ("serving/*.py",),
    "imaging": ("imaging/*.py",),
    "user requests": ("accounts/*.py", "http/users.py", "http/routes/memoji.py"),
    "operations": ("operations/*.py",),
    "fal": ("adapters/fal/*.py", "adapters/judged_transport.py", "adapters/bounded_stream.py"),
    "openai": ("adapters/openai/*.py", "adapters/blame.py", "adapters/base64_forms.py", "adapters/retry_after.py"),
    "supabase": ("adapters/supabase/*.py", "adapters/vercel_cdn.py", "adapters/object_paths.py"),
    "stores": ("adapters/filesystem.py", "adapters/disk_tier.py", "adapters/copy_*.py", "adapters/memory/store.py"),
    "ledger": ("adapters/ledger/*.py",),
    "http": ("http/*.py",),
    "routes": ("http/routes/*.py",),
    "server": ("http/server/*.py",),
    "recipes": ("recipes/*.py", "prices.py"),
    "composition": ("compose/*.py", "settings/*.py"),
}
SQL_FILES: Final = "supabase/migrations/*.sql"


def all_changes(root: Path) -> dict[str, list[Change]]:
    """Every change that the rules find, by area; the areas of SQL are `sql: <function or file>`."""
    found = {area: list(_python_changes(root, area, _files(root, globs))) for area, globs in PYTHON_AREAS.items()}
    for file in sorted(root.glob(SQL_FILES)):
        for change in _sql_changes(root, file):
            found.setdefault(change.area, []).append(change)
    return found


def draw(
    changes: dict[str, list[Change]], *, seed: int, count: int, is_wanted: Callable[[Change], bool]
) -> list[Change]:
    """`count` changes: every other one of SQL, each half evenly over its areas, one change a line at first.

    A change's turn depends on the seed and on its own text alone, so an edit elsewhere draws the same again.
    """
    queues = {area: [each for each in _by_chance(found, seed) if is_wanted(each)] for area, found in changes.items()}
    halves = []
    for is_sql in (False, True):
        areas = sorted(
            (area for area in queues if area.startswith("sql: ") is is_sql), key=lambda area: _chance(seed, area)
        )
        rounds = zip_longest(*(queues[area] for area in areas))
        halves.append([change for of_round in rounds for change in of_round if change is not None])
    both = [change for pair in zip_longest(*halves) for change in pair if change is not None]
    return both[:count]


def _chance(seed: int, *text: object) -> str:
    return hashlib.sha256(repr((seed, *text)).encode()).hexdigest()


def _by_chance(changes: list[Change], seed: int) -> list[Change]:
    """One change of each line, the lines in any order, then a second one of each."""

    def anchor(change: Change) -> tuple[str, str, int]:
        return change.file, change.before, change.occurrence

    lines = [
        sorted(of_line, key=lambda change: _chance(seed, change.id))
        for _, of_line in groupby(sorted(changes, key=anchor), key=anchor)
    ]
    lines.sort(key=lambda of_line: _chance(seed, anchor(of_line[0])))
    return [change for of_round in zip_longest(*lines) for change in of_round if change is not None]


def _files(root: Path, globs: Iterable[str]) -> list[Path]:
    return sorted(file for glob in globs for file in root.glob(CORE + glob))


def _python_changes(root: Path, area: str, files: Iterable[Path]) -> Iterator[Change]:
    for file in files:
        source = file.read_text()
        lines = source.split("\n")
        for edit in python_edits(source):
            (first, start), (last, end) = edit.start, edit.end
            after = lines[first - 1][:start] + edit.text + lines[last - 1][end:]
            yield _change(root, file, lines, (first, last), after, area=area, rule=edit.rule)


def _sql_changes(root: Path, file: Path) -> Iterator[Change]:
    source = file.read_text()
    lines = source.split("\n")
    for edit in sql_edits(source, file_owner=file.stem.partition("_")[2]):
        place = (edit.first, edit.last)
        yield _change(root, file, lines, place, edit.text, area=f"sql: {edit.owner}", rule=edit.rule)


def _change(root: Path, file: Path, lines: list[str], place: tuple[int, int], after: str, **kinds: str) -> Change:
    first, last = place
    return Change(
        **kinds,
        file=file.relative_to(root).as_posix(),
        before="\n".join(lines[first - 1 : last]),
        after=after,
        occurrence=occurrence_at(lines, first - 1, last - first + 1),
    )
