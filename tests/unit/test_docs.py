"""The pages say what is there: tests that exist, links that lead somewhere, every word and every decision listed."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from copperplate.model import Outcome, Phase
from copperplate.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# A fault, what is to be expected, `tests/path.py::name`, the change that turns it red.
FAULT_ROW = re.compile(r"^\| (?P<fault>.+) \| (?P<expected>.+) \| `(?P<test>tests/[^`]+)` \| (?P<change>.+) \|$")


def rows(page: Path) -> list[list[str]]:
    """The cells of every table on a page, without its head and rule."""
    table = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


@cache
def statements_in(file: Path) -> list[ast.stmt]:
    """What a file consists of; parsed once."""
    return ast.parse(file.read_text()).body


def classes_in(file: Path) -> list[ast.ClassDef]:
    """The classes of a file."""
    return [node for node in statements_in(file) if isinstance(node, ast.ClassDef)]


@cache
def suites_beside(folder: Path) -> dict[str, ast.ClassDef]:
    """Every class of a folder and of the folders in it, by its name."""
    return {node.name: node for file in sorted(folder.rglob("*.py")) for node in classes_in(file)}


def methods_of(node: ast.ClassDef, suites: dict[str, ast.ClassDef]) -> set[str]:
    """The functions of a class and of those it inherits from."""
    own = {each.name for each in node.body if isinstance(each, FUNCTIONS)}
    parents = [suites[name] for name in map(ast.unparse, node.bases) if name in suites]
    return own.union(*(methods_of(parent, suites) for parent in parents))


@cache
def names_in(file: Path) -> set[str]:
    """Names of the tests of a file as pytest writes them, those of the suites its classes inherit included."""
    found = {node.name for node in statements_in(file) if isinstance(node, FUNCTIONS)}
    suites = suites_beside(file.parent)
    return found | {f"{node.name}::{name}" for node in classes_in(file) for name in methods_of(node, suites)}


def test_every_test_named_in_the_table_of_faults_exists_and_has_its_change() -> None:
    lines = [line for line in (DOCS / "faults.md").read_text().splitlines() if "`tests/" in line]
    assert len(lines) >= 50
    for line in lines:
        row = FAULT_ROW.match(line)
        assert row, line
        path, _, name = row["test"].partition("::")
        assert name in names_in(ROOT / path), row["test"]
        assert all(row[column].strip() for column in ("fault", "expected", "change"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


def test_every_page_is_linked_from_the_readme_or_the_index_of_decisions() -> None:
    linked = {
        (page.parent / target).resolve()
        for page in (ROOT / "README.md", DOCS / "adr" / "README.md")
        for target in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text())
    }
    assert {page for page in PAGES if page.is_relative_to(DOCS)} <= linked


COMMANDS = [
    pytest.param(page, mark, id=f"{page.name}-{number}")
    for page in (*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md")
    for number, mark in enumerate(re.findall(r"^(.*)\n```sh$", page.read_text(), re.MULTILINE))
]


@pytest.mark.parametrize(("page", "mark"), COMMANDS)
def test_every_command_of_a_page_is_run_by_a_test_or_says_why_not(page: Path, mark: str) -> None:
    told = re.fullmatch(r"<!-- (?:run by (\S+)|not run: .{10,}) -->", mark)
    assert told, f"{page.name}: {mark!r} stands before a command"
    if told[1]:
        path, _, name = told[1].partition("::")
        assert name in names_in(ROOT / path), told[1]


def test_a_setting_that_is_something_unless_set_does_not_show_none_as_its_default() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if "unless set" in line and line.startswith("| `")]
    assert {"| `COPPERPLATE_ANONYMOUS_BUDGET_USD`", "| `COPPERPLATE_USER_BUDGET_USD`"} <= {row[0] for row in rows}
    assert [row[0] for row in rows if row[1] == "none"] == []


def test_the_button_asks_for_settings_that_exist() -> None:
    [asked] = re.findall(
        r"vercel\.com/new/clone\?\S*&env=([A-Z_,]+)\)$", (DOCS / "vercel.md").read_text(), re.MULTILINE
    )
    assert set(asked.split(",")) <= {each.metadata["variable"] for each in fields(Settings)}


def test_index_of_decisions_lists_every_decision_under_its_own_number_once() -> None:
    page = (DOCS / "adr" / "README.md").read_text()
    index = re.findall(r"^\| \[(\d{4})\]\((\d{4}-[a-z0-9-]+\.md)\) \|", page, re.MULTILINE)
    files = sorted(file.name for file in (DOCS / "adr").glob("[0-9]*.md"))
    assert [name for _, name in index] == files
    assert all(name.startswith(number) for number, name in index)
    assert len({number for number, _ in index}) == len(index)


def test_glossary_gives_each_word_one_meaning_and_names_every_outcome_and_phase() -> None:
    words = [word for cells in rows(DOCS / "glossary.md")[1:] for word in re.split(r", ", cells[0])]
    assert len(words) == len(set(words))
    assert {"recipe", "generation", "rendition", "lease", "fence", "leader", "follower", "single flight"} <= set(words)
    meanings = {cells[0]: cells[1] for cells in rows(DOCS / "glossary.md")[1:]}
    assert re.findall(r"`(\w+)`", meanings["outcome"]) == [str(each) for each in Outcome]
    assert re.findall(r"`(\w+)`", meanings["phase"]) == [str(each) for each in Phase]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_holds_a_path_of_somebodys_machine(page: Path) -> None:
    assert not re.search(r"(?<![\w.])/(?:home|work|root|Users)/", page.read_text())
