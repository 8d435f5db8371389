"""`copperplate import` as a person runs it, over a real Postgres: killed, run again, run twice at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from PIL import Image

from copperplate.cli import main
from tests.e2e.test_cli import run
from tests.support.postgres_fixtures import entry_faults_of

if TYPE_CHECKING:
    import subprocess

PICTURES = 6
HEADER = "prompt,dimensions,format,file,model\n"


@pytest.fixture
def variables(owner_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": owner_url,
        "COPPERPLATE_DATA_DIR": str(tmp_path / "data"),
        # Who comes after a dead leader waits no longer.
        "COPPERPLATE_LEASE_SECONDS": "1",
        "COPPERPLATE_HEARTBEAT_SECONDS": "0.25",
    }


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures that differ, and the list of them."""
    root = tmp_path / "root"
    root.mkdir()
    rows = []
    for number in range(PICTURES):
        target = BytesIO()
        Image.linear_gradient("L").resize((64, 64)).rotate(number * 10).convert("RGB").save(target, "PNG")
        (root / f"{number}.png").write_bytes(target.getvalue())
        rows.append(f"picture {number},64x64,,{number}.png,\n")
    (tmp_path / "list.csv").write_text(HEADER + "".join(rows))
    return root


def imported(pictures: Path, variables: dict[str, str], *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    arguments = ("import", str(pictures.parent / "list.csv"), "--root", str(pictures), "--json", *options)
    return run(*arguments, **variables, **more)


def figures(answer: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    assert answer.returncode == code, answer.stderr
    told: dict[str, Any] = json.loads(answer.stdout)
    return told


def spent(owner_url: str) -> tuple[Any, ...]:
    """Submits, counters of budgets, calls: what an import may not touch."""
    with psycopg.connect(owner_url) as connection:
        row = connection.execute(
            "select (select count(*) from copperplate.submits), "
            "(select coalesce(sum(pictures), 0) from copperplate.budget_usage), "
            "(select coalesce(sum(api_calls_made), 0) from public.generation_status)"
        ).fetchone()
    assert row is not None
    return tuple(map(int, row))


def test_an_import_that_is_killed_is_finished_by_the_next(
    owner_url: str, variables: dict[str, str], pictures: Path
) -> None:
    # The original of one is stored and recorded nowhere; the others are wherever they are.
    killed = imported(pictures, variables, COPPERPLATE_CRASH_AT="original_uploaded:3")
    assert killed.returncode == -9
    again = figures(imported(pictures, variables))
    assert again["kept"] + again["skipped"] == PICTURES
    assert again["failed"] == 0
    assert spent(owner_url) == (0, 0, 0)
    with psycopg.connect(owner_url) as connection:
        rows = connection.execute("select path from copperplate.cache_entries").fetchall()
        discarded = connection.execute("select path from copperplate.discarded_objects").fetchall()
    assert entry_faults_of(owner_url) == []
    files = [path for path in Path(variables["COPPERPLATE_DATA_DIR"]).rglob("*.*") if len(path.stem) == 64]
    stored = {"/".join(path.parts[-3:]) for path in files}
    # Each object is an entry's, or noted for removal.
    assert {path for (path,) in rows} <= stored <= {path for (path,) in [*rows, *discarded]}


def test_two_imports_at_once_keep_each_picture_once_and_faults_are_told_by_line(
    owner_url: str, variables: dict[str, str], pictures: Path
) -> None:
    listed = pictures.parent / "list.csv"
    listed.write_text(listed.read_text() + "gone,64x64,,gone.png,\npicture 0,64,,0.png,\n")
    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(lambda _: imported(pictures, variables), range(2)))
    told = [figures(answer, 1) for answer in answers]
    assert sum(each["kept"] for each in told) == PICTURES
    assert [each["failed"] for each in told] == [2, 2]
    for answer in answers:
        assert sorted(answer.stderr.splitlines()) == [
            "line 8: there is no such file below --root",
            "line 9: dimensions are written as 1024x1024",
        ]
    assert spent(owner_url) == (0, 0, 0)


def test_the_page_on_warming_shows_what_the_command_prints(
    variables: dict[str, str],
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    page = (
        (Path(__file__).parents[2] / "docs" / "warming.md").read_text().partition("## Pictures that exist already")[2]
    )
    command, shown = (block.partition("\n")[2] for block in page.split("```")[1:4:2])
    monkeypatch.chdir(pictures.parent)
    pictures.rename("old-pictures")
    rows = [f"picture {number},64x64,,{number}.png,\n" for number in (0, 1, 1)]
    Path("pictures.csv").write_text(HEADER + "".join(rows))
    assert main(command.split()[1:]) == 0
    printed = capsys.readouterr().out
    # Encoders of other versions make other numbers of bytes.
    assert [line for line in printed.splitlines() if "bytes" not in line] == [
        line for line in shown.splitlines() if "bytes" not in line
    ]


def test_a_dry_run_keeps_nothing(
    owner_url: str,
    variables: dict[str, str],
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (pictures / "0.png").unlink()
    arguments = ["import", str(pictures.parent / "list.csv"), "--root", str(pictures), "--json", "--dry-run"]
    assert main(arguments) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["would_be_kept"], told["failed"]) == (PICTURES - 1, 1)
    with psycopg.connect(owner_url) as connection:
        assert connection.execute("select count(*) from public.generation_status").fetchone() == (0,)


@pytest.mark.parametrize(
    ("text", "root", "said"),
    [
        ("prompt,file\n", ".", "the first line names the columns"),
        (None, ".", "cannot be read as a list"),
        (HEADER, "missing", "--root is no folder"),
    ],
)
def test_what_is_no_list_or_no_folder_is_refused_before_anything_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, root: str, said: str
) -> None:
    listed, data = tmp_path / "list.csv", tmp_path / "data"
    if text is not None:
        listed.write_text(text)
    assert main(["import", str(listed), "--root", str(tmp_path / root), "--data-dir", str(data)]) == 2
    assert said in capsys.readouterr().err
    assert not data.exists()
