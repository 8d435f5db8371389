"""The runner of planted changes: it draws, anchors, plants and takes out again, and tells noticed from unnoticed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from scripts.planted_changes.areas import PYTHON_AREAS, all_changes, draw
from scripts.planted_changes.change import AnchorLost, Change, occurrence_at, read_named
from scripts.planted_changes.coverage_map import CoverageMap, anchor_of
from scripts.planted_changes.fitting import Fitting
from scripts.planted_changes.python_rules import python_edits
from scripts.planted_changes.sql_rules import sql_edits
from scripts.planted_changes.trial import Plant, Result, scratch_copy

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
RUNNER = ROOT / "scripts" / "planted_changes"
SOURCE = dedent(
    '''
    """A module."""
    def clamp(value: int, *, top: int = 9) -> int:
        """The smaller of both."""
        if value > top and not value == 99:
            return min(value, top)
        log.info("kept", extra={"n": 1})
        store.put(value, public=True)
        return value
    '''
).lstrip()
MIGRATION = dedent(
    """
    create function public.take(p_key text) returns bigint language plpgsql as $$
    begin
        -- The row, if nobody has it: limit 5.
        perform 1 from public.rows as r
        where r.key = p_key
            and r.taken_at is null
        for update skip locked;
        return coalesce(v_fence, 0);
    end;
    $$;

    comment on function public.take(text) is 'Take 1 row; it
    waits for nobody.';
    revoke all on function public.take(text) from public, anon;
    """
).lstrip()


def changed_lines(source: str) -> set[str]:
    """What the rules make of Python lines, without their indent."""
    lines = source.split("\n")
    return {
        (lines[edit.start[0] - 1][: edit.start[1]] + edit.text + lines[edit.end[0] - 1][edit.end[1] :]).strip()
        for edit in python_edits(source)
    }


def test_python_rules_change_what_runs_and_neither_words_nor_types() -> None:
    found = changed_lines(SOURCE)
    assert {
        "if value >= top and not value == 99:",
        "if value > top or not value == 99:",
        "if value > top and value == 99:",
        "if value > top and not value != 99:",
        "if value > top and not value == 100:",
        "if not (value > top and not value == 99):",
        "return max(value, top)",
        "store.put(value)",
        "store.put(value, public=False)",
        "pass",
    } <= found
    assert all("log.info" not in line and '"""' not in line and "import" not in line for line in found)


def test_sql_rules_change_bodies_and_rights_and_neither_comments_nor_words() -> None:
    edits = sql_edits(MIGRATION, file_owner="rows")
    found = {edit.text.strip() for edit in edits}
    assert {edit.owner for edit in edits} == {"public.take"}
    assert {
        "where true",
        "where r.key <> p_key",
        "and r.taken_at is not null",
        "for update;",
        "return coalesce(0, v_fence);",
        "return coalesce(v_fence, 1);",
        "null;",
        "",
    } <= found
    assert "revoke dropped" in {edit.rule for edit in edits}
    assert all("comment" not in line and "--" not in line and "nobody" not in line for line in found)


@pytest.fixture(scope="module")
def every_change() -> dict[str, list[Change]]:
    return all_changes(ROOT)


def test_every_area_has_changes_and_each_of_them_differs_and_compiles(every_change: dict[str, list[Change]]) -> None:
    assert set(PYTHON_AREAS) <= set(every_change)
    assert "sql: public.acquire_generation" in every_change
    for area in (*PYTHON_AREAS, "sql: public.acquire_generation"):
        assert len(every_change[area]) >= 30, area
        for change in every_change[area][::25]:
            source = (ROOT / change.file).read_text()
            changed = change.apply(source)
            assert changed != source
            if change.file.endswith(".py"):
                compile(changed, change.file, "exec")


def test_same_seed_draws_the_same_whatever_changes_elsewhere(every_change: dict[str, list[Change]]) -> None:
    def drawn(changes: dict[str, list[Change]], seed: int) -> list[Change]:
        # As many as each area has its turn more than once: a function of SQL is an area.
        return draw(changes, seed=seed, count=3 * len(changes), is_wanted=lambda change: change.area != "leader")

    first = drawn(every_change, 1)
    assert first == drawn(every_change, 1) != drawn(every_change, 2)
    assert {area for area in every_change if area.startswith("sql: ")} <= {change.area for change in first}
    counts = [sum(change.area == area for change in first) for area in PYTHON_AREAS if area != "leader"]
    assert max(counts) - min(counts) <= 1
    assert "leader" not in {change.area for change in first}
    of_http = [change for change in first if change.area == "http"]
    without_fal = drawn({area: found for area, found in every_change.items() if area != "fal"}, 1)
    assert of_http == [change for change in without_fal if change.area == "http"][: len(of_http)]


def test_anchor_is_the_text_and_its_occurrence() -> None:
    lines = ["if a:", "    go()", "if b:", "    go()", "    go() or stay()"]
    change = Change(area="x", rule="x", file="x.py", before="    go()", after="    stop()", occurrence=2)
    assert occurrence_at(lines, 3, 1) == 2
    assert change.apply("\n".join(lines)).split("\n") == [*lines[:3], "    stop()", lines[4]]
    assert change.line_in("\n".join(["", *lines])) == 5
    with pytest.raises(AnchorLost, match="occurrence 2"):
        change.apply("if a:\n    go()\n")


@pytest.mark.parametrize("name", ["named", "equivalent"])
def test_named_changes_are_found_in_todays_files_and_say_why(name: str) -> None:
    found = read_named(RUNNER / f"{name}.toml", ROOT)
    assert len(found) >= (17 if name == "named" else 0)
    assert len({each.change.id for each in found}) == len(found)
    for each in found:
        source = (ROOT / each.change.file).read_text()
        assert each.change.apply(source) != source, each.name
        assert len(each.why) > 10
        for test in each.tests:
            assert (ROOT / test.partition("::")[0]).is_file(), test


def test_tests_of_a_line_are_found_by_its_text_near_ones_first(tmp_path: Path) -> None:
    file = "src/copperplate/limits.py"
    (tmp_path / file).parent.mkdir(parents=True)
    source = "TOP = 1\n\ndef top():\n    return TOP\n"
    (tmp_path / file).write_text(source)
    tests = ["tests/contract/test_a.py::test_a", "tests/unit/test_b.py::test_b", "tests/unit/test_limits.py::test_c"]
    coverage = CoverageMap(lines={file: {anchor_of(source.split("\n"), 4): tests}})
    (tmp_path / file).write_text("# A line more.\n" + source)
    for before, after in (("    return TOP", "    return 2"), ("TOP = 1", "TOP = 2")):
        change = Change(area="x", rule="x", file=file, before=before, after=after)
        assert Fitting(tmp_path, coverage).batches(change) == [[tests[2], tests[1]], [tests[0]]]


def test_tests_of_a_sql_function_are_those_that_name_what_reaches_it() -> None:
    fitting = Fitting(ROOT, CoverageMap())
    callers = fitting.callers("copperplate.claim_again")
    assert callers["public.acquire_generation"] == 1
    file = next(
        path for path in (ROOT / "supabase" / "migrations").glob("*.sql")
        if "create function copperplate.claim_again(" in path.read_text()
    )  # fmt: skip
    change = Change(
        area="x", rule="x", file=file.relative_to(ROOT).as_posix(),
        before="        error_class = null,", after="",
    )  # fmt: skip
    (batch,) = fitting.batches(change)
    assert {"tests/integration/test_rights.py", "tests/integration/test_pgtap.py"} <= set(batch)
    assert batch[-1] == "tests/contract/test_ledger_postgres.py"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Plant]:
    """A module and its test, in a repository of their own."""
    for name, text in {
        "src/small/__init__.py": "",
        "src/small/limits.py": "def is_allowed(n):\n    return 0 < n <= 10\n",
        "tests/test_broken.py": "def test_that_fails_as_it_is():\n    assert False\n",
        "tests/test_limits.py": "from small.limits import is_allowed\n\n"
        "def test_ten_is_allowed():\n    assert is_allowed(10) and not is_allowed(11)\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    with scratch_copy(tmp_path) as copy:
        yield Plant(copy, wall_seconds=60)
        assert (copy / "src/small/limits.py").read_text() == (tmp_path / "src/small/limits.py").read_text()
    assert not copy.exists()


def test_planted_change_is_noticed_or_not_and_taken_out_again(project: Plant) -> None:
    def planted(after: str) -> Change:
        before = "    return 0 < n <= 10"
        return Change(area="x", rule="x", file="src/small/limits.py", before=before, after=after)

    tests = [["tests/test_broken.py", "tests/test_limits.py"]]
    noticed = project.try_change(planted("    return 0 < n < 10"), tests)
    assert (noticed.result, noticed.by) == (Result.NOTICED, "tests/test_limits.py::test_ten_is_allowed")
    assert project.try_change(planted("    return 1 < n <= 10"), tests).result is Result.SURVIVED
    assert project.try_change(planted("    return 0 < n <= "), tests).result is Result.INVALID
