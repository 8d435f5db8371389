"""Which tests fit a change: of Python those that run its line, of SQL those that name it. Near and quick ones first."""

from __future__ import annotations

import re
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scripts.planted_changes.sql_rules import statements

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scripts.planted_changes.change import Change
    from scripts.planted_changes.coverage_map import CoverageMap

# These compare pages and generated files with the source: any change turns them red, which proves nothing.
LEFT_OUT: Final = (
    "tests/unit/test_docs.py",
    "tests/unit/test_planted_changes.py",
    "tests/integration/test_database_types.py",
    "tests/integration/test_setup_sql.py",
    "tests/integration/test_sql_style.py",
)
LEFT_OUT_NAMES: Final = (
    "test_schema_is_as_this_program_was_shipped_with_it",
    "test_what_doctor_compares_with_is_of_the_migrations_of_today",
    "test_untouched_database_has_no_difference_however_it_was_set_up",
    "test_document_is_generated",
)
# What a coverage run sees little of, because it works through processes of its own.
UNSEEN: Final = {
    "src/copperplate/generation/": ("tests/simulation/test_simulation.py::test_no_history_breaks_a_promise[0]",),
    "src/copperplate/adapters/ledger/": (
        "tests/integration/test_postgres_adapter.py",
        "tests/integration/test_postgrest_adapter.py",
        "tests/integration/test_postgrest_errors.py",
        "tests/integration/test_poolers.py",
    ),
    "src/copperplate/compose/": ("tests/e2e/test_operations.py",),
    "src/copperplate/http/": ("tests/e2e/test_error_paths.py",),
    "src/copperplate/http/server/": ("tests/e2e/test_starting.py", "tests/e2e/test_dev.py"),
}
ROOMS: Final = ("unit", "simulation", "contract", "integration", "deployment", "e2e")
# They look at every function.
ALWAYS_FOR_SQL: Final = ("tests/integration/test_rights.py", "tests/integration/test_pgtap.py")
# Of the tests that call a function; all of them together take minutes.
MAX_CALLING: Final = 30
LEDGER_SUITE: Final = "tests/contract/test_ledger_postgres.py"
TEST: Final = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
WORD: Final = re.compile(r"\w+")


class Fitting:
    """Chooses the tests of a change in the tree at `root`."""

    def __init__(self, root: Path, coverage: CoverageMap) -> None:
        self._root = root
        self._coverage = coverage

    def batches(self, change: Change) -> list[list[str]]:
        """Arguments for pytest, a batch for each run, in the order in which to run them."""
        if change.file.endswith(".sql"):
            return [self._of_sql(change)]
        return self._of_python(change)

    def _of_python(self, change: Change) -> list[list[str]]:
        source = (self._root / change.file).read_text()
        tests = self._coverage.tests_of(change.file, source.split("\n"), change.changed_line_in(source))
        path = Path(change.file)
        near = {path.stem.rstrip("s"), path.parent.name} - {"copperplate", "adapters", "__init__"}

        def order(test: str) -> tuple[int, bool, float]:
            is_far = not any(word in Path(test.partition("::")[0]).stem for word in near)
            return _room(test), is_far, self._coverage.seconds_of(test)

        tests += self._unmeasured({test.partition("::")[0] for test in tests})
        ordered = sorted((test for test in tests if not test.startswith(LEFT_OUT)), key=order)
        batches = [list(batch) for _, batch in groupby(ordered, key=_room)]
        return batches + [list(unseen) for folder, unseen in UNSEEN.items() if change.file.startswith(folder)]

    def _unmeasured(self, files: Iterable[str]) -> list[str]:
        """The tests of `files` that were written since the map was measured."""
        paths = {file: self._root / file for file in files}
        found = [
            f"{file}::{name}"
            for file, path in paths.items()
            if path.is_file()
            for name in TEST.findall(path.read_text())
        ]
        return [test for test in found if test not in self._coverage.tests]

    def _of_sql(self, change: Change) -> list[str]:
        """The tests that call its function, then what looks at every function, then files that name what reaches it."""
        owner = owner_of(change, (self._root / change.file).read_text())
        words = {word for word in owner.rpartition(".")[2].split("_") if len(word) > 3}

        def order(test: str) -> tuple[bool, float]:
            return not any(word in test for word in words), self._coverage.seconds_of(test)

        calling = sorted(self._coverage.functions.get(owner, []), key=order)[:MAX_CALLING]
        seen = {test.partition("::")[0] for test in calling}
        naming = [file for file in self._naming(owner) if file not in seen]
        is_of_rights = change.rule in ("grant dropped", "revoke dropped", "rights")
        first, then = (ALWAYS_FOR_SQL, calling) if is_of_rights else (calling or naming[:3], ALWAYS_FOR_SQL)
        batch = dict.fromkeys((*first, *then, *naming, *([] if calling else [LEDGER_SUITE])))
        return [test for test in batch if not test.startswith(LEFT_OUT)]

    def _naming(self, owner: str) -> list[str]:
        """Files of integration tests by how directly they name what reaches `owner`."""
        distances = self.callers(owner)
        weights = {name.rpartition(".")[2]: 2.0**-distance for name, distance in distances.items()}
        weights |= dict.fromkeys(self._methods(weights), 0.5)
        scores = {
            file: sum(weights[word] for word in weights if word in words)
            for file, words in self._words_of_tests.items()
        }
        ranked = sorted((file for file, score in scores.items() if score), key=lambda file: -scores[file])
        return [file for file in ranked if _room(file) == ROOMS.index("integration")]

    def callers(self, name: str) -> dict[str, int]:
        """What reaches a function, a table or a view of the database, with how many steps lie between."""
        found = {name: 0}
        while more := {
            owner: min(found[inner] + 1 for inner in found if inner in text)
            for owner, text in self._functions.items()
            if owner not in found and any(inner in text for inner in found)
        }:
            found |= more
        return found

    @cached_property
    def _functions(self) -> dict[str, str]:
        files = (self._root / "supabase" / "migrations").glob("*.sql")
        found: dict[str, str] = {}
        for statement in (each for file in files for each in statements(file.read_text())):
            if statement.owner and statement.text.startswith("create"):
                found[statement.owner] = statement.text
        return found

    def _methods(self, functions: Iterable[str]) -> set[str]:
        """The ledger's methods that call one of these functions."""
        wanted, found = set(functions), set[str]()
        for file in (self._root / "src/copperplate/adapters/ledger").glob("*.py"):
            for part in file.read_text().split("async def ")[1:]:
                if wanted & set(re.findall(r'"(\w+)"', part)):
                    found.add(part.partition("(")[0])
        return found

    @cached_property
    def _words_of_tests(self) -> dict[str, set[str]]:
        files = sorted((self._root / "tests" / "integration").glob("test_*.py"))
        return {file.relative_to(self._root).as_posix(): set(WORD.findall(file.read_text())) for file in files}


def owner_of(change: Change, source: str) -> str:
    """The function that a change of a migration is in; else the table it makes or the whole file's first object."""
    line = change.line_in(source)
    around = [each for each in statements(source) if each.first <= line <= each.last]
    if around and around[0].owner:
        return around[0].owner
    named = re.search(r"(?:public|copperplate)\.\w+", around[0].text if around else source)
    return named[0] if named else change.file


def _room(test: str) -> int:
    return next((number for number, room in enumerate(ROOMS) if f"tests/{room}/" in test), len(ROOMS))
