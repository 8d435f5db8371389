"""No migration breaks what runs, says squawk, and all have one order; `make check` has sqlfluff look at the style."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest

from copperplate.local.statements import split_statements

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
MIGRATIONS = sorted((ROOT / "supabase" / "migrations").glob("*.sql"))
MOST_LINES = 300
# What a statement does to which object, whatever stands between; a column counts to its table.
ABOUT = re.compile(
    r"(?:create (?=function|view|type|table|sequence)|comment on |alter (?=table)|(?:revoke|grant) [\w\s,]+? on )"
    r"(?P<kind>function|view|type|table|sequence|column) (?P<name>\w+\.\w+)"
)
ORDER = {"table": r"create (comment )+alter revoke( grant)*", "other": r"create comment revoke( grant)*"}


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAMS / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)


def test_squawk_finds_nothing_in_the_migrations() -> None:
    answer = run("squawk", "--reporter=gcc", *MIGRATIONS)
    assert (answer.returncode, answer.stdout) == (0, "")


def test_squawk_would_find_a_migration_that_breaks_what_runs(tmp_path: Path) -> None:
    bad = tmp_path / "bad.sql"
    bad.write_text("alter table public.generation_status drop column prompt;\n")
    answer = run("squawk", "--reporter=gcc", bad)
    assert answer.returncode == 1
    assert "ban-drop-column" in answer.stdout


@pytest.mark.parametrize("file", MIGRATIONS, ids=lambda file: file.name)
def test_comment_and_rights_stand_right_after_each_object(file: Path) -> None:
    assert file.read_text().count("\n") <= MOST_LINES
    assert out_of_order(file.read_text()) == []


@pytest.mark.parametrize(
    "moved",
    [
        "create view a.b as select 1; revoke all on table a.b from public; comment on view a.b is 'x';",
        "create function a.b() as $$ $$; comment on function a.b() is 'x';",
        "create type a.b as (); comment on type a.b is 'x'; create type a.c as (); revoke all on type a.b from public;",
        "create table a.b (); comment on table a.b is 'x'; revoke all on table a.b from public;",
    ],
)
def test_object_out_of_order_would_be_found(moved: str) -> None:
    assert out_of_order(moved) != []


def out_of_order(script: str) -> list[str]:
    """The objects that are not followed by their comment, what is revoked and what is granted, and nothing between."""
    texts = [re.sub(r"\A(--.*\n|\s+)+", "", statement.text) for statement in split_statements(script)]
    about = [(text.split()[0], found["kind"], found["name"]) for text in texts if (found := ABOUT.match(text))]
    wrong = []
    for number, (verb, kind, name) in enumerate(about):
        if verb != "create":
            continue
        together = list(takewhile(lambda each, name=name: each[2] == name, about[number:]))  # type: ignore[misc]
        verbs = " ".join(each[0] for each in together)
        is_whole = len(together) == sum(each[2] == name for each in about)
        if not is_whole or not re.fullmatch(ORDER.get(kind, ORDER["other"]), verbs):
            wrong.append(f"{kind} {name}: {verbs}")
    return wrong
