"""`copperplate process` over a real Postgres and the painter: each picture once, and no file is lost or replaced."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from PIL import Image, ImageDraw

from copperplate.adapters.painter.processing import PainterProcessing
from copperplate.cli import main
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE
from copperplate.errors import LedgerUnavailable
from copperplate.imaging.pillow_images import PillowImages
from copperplate.processing.service import Processing
from tests.e2e.dev_server import inherited, wait_until
from tests.support.commands import COPPERPLATE
from tests.support.postgres_fixtures import making_databases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copperplate.local.cluster import Cluster

    Process = Callable[..., tuple[int, dict[str, Any]]]

PAGE = Path(__file__).parents[2] / "docs" / "processing-folders.md"
NONE = {"cached": 0, "made": 0, "unchanged": 0, "left_out": 0, "failed": 0}


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Iterator[str]:
    with making_databases(cluster) as make:
        yield cluster.url(database=make())


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where objects are, for every test as the database is."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def settings(database: str, stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "DATABASE_URL": database,
        "COPPERPLATE_DATA_DIR": str(stored),
        "COPPERPLATE_LEASE_SECONDS": "2",
        "COPPERPLATE_HEARTBEAT_SECONDS": "0.5",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def process(settings: None, capsys: pytest.CaptureFixture[str]) -> Process:
    """Runs the command in this process; its exit code, and what it printed for programs."""

    def run(*arguments: str | Path, operation: str = "remove-background") -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main(["process", *map(str, arguments), "--operation", operation, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def picture(name: str, *, side: int = 64) -> Image.Image:
    """A disc on an even ground, with a mark of its own: names are one test's alone, as the database is every test's."""
    seed = sum(name.encode())
    made = Image.new("RGB", (side, side), (240, 240, 235))
    draw = ImageDraw.Draw(made)
    draw.ellipse((side // 4, side // 4, 3 * side // 4, 3 * side // 4), fill=(seed % 200, 90, 160))
    draw.text((side // 3, side // 3), name, fill=(0, 0, 0))
    return made


def opened(path: Path) -> Image.Image:
    """A picture that holds no file open."""
    return Image.open(BytesIO(path.read_bytes()))


def write(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        picture(name).save(folder / name)
    return folder


def submits(database: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute("select count(*) from copperplate.submits").fetchone()
    assert row is not None
    return int(row[0])


def told(answer: tuple[int, dict[str, Any]]) -> tuple[int, dict[str, int]]:
    code, figures = answer
    return code, {name: figures[name] for name in NONE if figures.get(name)}


def fault_codes(answer: tuple[int, dict[str, Any]]) -> dict[str, str]:
    return {Path(each["file"]).name: each["code"] for each in answer[1]["failures"]}


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folder_is_processed_once_and_again_costs_no_submit(process: Process, database: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "once", "a.png", "b.webp", "c.gif")
    shutil.copy(folder / "a.png", folder / "same.png")
    before = submits(database)
    assert told(process(folder)) == (EXIT_OK, {"made": 3, "cached": 1})
    results = [name for name in files_of(folder) if ".remove-background." in name]
    assert results == [f"{name}.remove-background.png" for name in ("a", "b", "c", "same")]
    cut = opened(folder / "a.remove-background.png")
    assert (cut.getpixel((0, 0))[3], cut.getpixel((32, 20))[3]) == (0, 255)  # type: ignore[index]
    assert (folder / "same.remove-background.png").read_bytes() == (folder / "a.remove-background.png").read_bytes()
    assert submits(database) == before + 3
    # What was made lies in the folder as well, and is not processed in its turn.
    assert told(process(folder)) == (EXIT_OK, {"unchanged": 4})
    assert submits(database) == before + 3


def test_stored_result_is_fetched_under_any_name_and_nothing_is_decoded(
    process: Process, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "named", "first.png")
    assert told(process(folder)) == (EXIT_OK, {"made": 1})
    before = submits(database)
    monkeypatch.setattr(PillowImages, "clean", None)
    monkeypatch.setattr(PillowImages, "verify", None)
    (folder / "first.png").rename(folder / "second.JPG")
    assert told(process(folder / "second.JPG", "--output", tmp_path / "new")) == (EXIT_OK, {"cached": 1})
    expected = (folder / "first.remove-background.png").read_bytes()
    assert (tmp_path / "new" / "second.remove-background.png").read_bytes() == expected
    assert submits(database) == before


def test_other_parameters_are_another_result(process: Process, tmp_path: Path) -> None:
    folder = write(tmp_path / "parameters", "p.png")
    assert told(process(folder, "--param", "scale=1.50", operation="upscale")) == (EXIT_OK, {"made": 1})
    assert opened(folder / "p.upscale.png").size == (96, 96)
    assert told(process(folder, "--param", "scale=1.5", operation="upscale")) == (EXIT_OK, {"unchanged": 1})
    elsewhere = ("--param", "scale=3", "--output", tmp_path / "three")
    assert told(process(folder, *elsewhere, operation="upscale")) == (EXIT_OK, {"made": 1})


def test_file_of_the_results_name_is_replaced_by_force_alone_and_nothing_is_spent_for_it(
    process: Process, database: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "force", "f.png")
    (folder / "f.remove-background.png").write_bytes(b"somebody's own")
    before = submits(database)
    refused = process(folder)
    assert (refused[0], fault_codes(refused)) == (EXIT_FAILED, {"f.png": "output_exists"})
    assert (folder / "f.remove-background.png").read_bytes() == b"somebody's own"
    assert submits(database) == before
    assert told(process(folder, "--force")) == (EXIT_OK, {"made": 1})
    assert opened(folder / "f.remove-background.png").mode == "RGBA"
    assert files_of(folder) == ["f.png", "f.remove-background.png"]


def test_results_of_files_that_differ_in_their_ending_alone_keep_it_and_the_others_go_on(
    process: Process, tmp_path: Path
) -> None:
    folder = write(tmp_path / "alike", "e.png", "e.jpg", "other.png")
    assert told(process(folder)) == (EXIT_OK, {"made": 3})
    results = {name: opened(folder / name) for name in files_of(folder) if ".remove-background." in name}
    assert sorted(results) == [f"{name}.remove-background.png" for name in ("e.jpg", "e.png", "other")]
    assert told(process(folder)) == (EXIT_OK, {"unchanged": 3})


def test_file_that_appears_while_its_result_is_made_is_not_replaced(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "meanwhile", "m.png")
    submit = PainterProcessing.submit

    async def submit_while_somebody_writes(self: PainterProcessing, *arguments: Any) -> Any:
        (folder / "m.remove-background.png").write_bytes(b"somebody's own")
        return await submit(self, *arguments)

    monkeypatch.setattr(PainterProcessing, "submit", submit_while_somebody_writes)
    assert fault_codes(process(folder)) == {"m.png": "output_exists"}
    assert (folder / "m.remove-background.png").read_bytes() == b"somebody's own"
    assert files_of(folder) == ["m.png", "m.remove-background.png"]


def test_each_fault_is_a_line_with_its_code_and_the_others_go_on(
    process: Process, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "faults", "good.png")
    (folder / "text.png").write_text("no picture")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (folder / "notes.txt").write_text("is left alone")
    Image.new("RGB", (64, 64), (9, 9, 9)).save(folder / "flat.png")
    answer = process(folder)
    assert told(answer) == (EXIT_FAILED, {"made": 1, "failed": 3})
    codes = {"text.png": "unsupported_picture", "phone.heic": "unsupported_picture", "flat.png": "generation_failed"}
    assert fault_codes(answer) == codes
    main(["process", str(folder / "text.png"), "--operation", "upscale"])
    said = capsys.readouterr().err
    assert said.startswith(f"{folder / 'text.png'}: ")
    assert said.endswith("[unsupported_picture]\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.png"], "there is no file missing.png [usage]"),
        (["empty"], "there is no picture in what was named [usage]"),
        (["one.webp", "--output", "one.webp"], "--output is no folder: one.webp [usage]"),
        (["one.webp", "--output", "one.webp/in"], "one.webp/in: Not a directory [usage]"),
        (["one.webp", "a/one.webp", "--output", "."], "process them with two folders as --output [usage]"),
        (["one.webp", "--param", "size=2"], "has no parameter 'size'"),
        (["one.webp", "--param", "scale=9"], "scale is a number from 1 to 4"),
        (["one.webp", "--model", "another"], "Offered: copperplate/painter-upscale-1."),
    ],
)
def test_what_is_not_known_is_refused_before_anything_is_read(
    settings: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    write(tmp_path, "one.webp")
    write(tmp_path / "a", "one.webp")
    before = files_of(tmp_path)
    assert main(["process", *arguments, "--operation", "upscale"]) == EXIT_USAGE
    assert said in capsys.readouterr().err
    assert files_of(tmp_path) == before


def test_dry_run_counts_and_prices_and_writes_nothing(
    process: Process, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "dry", "d.png")
    process(folder)
    write(folder, "q.png", "r.png")
    shutil.copy(folder / "q.png", folder / "q2.png")
    before, listed = submits(database), files_of(folder)
    bill_each(monkeypatch, 30_000)
    code, figures = process(folder, "--dry-run", "--output", tmp_path / "dried")
    assert code == EXIT_OK
    assert {name: figures[name] for name in ("cached", "would_be_made", "booked_usd")} == {
        "cached": 2,
        "would_be_made": 2,
        "booked_usd": 0.06,
    }
    assert (submits(database), files_of(folder)) == (before, listed)
    assert not (tmp_path / "dried").exists()


def bill_each(monkeypatch: pytest.MonkeyPatch, micro_usd: int) -> None:
    monkeypatch.setattr(PainterProcessing, "is_billable", True)
    monkeypatch.setattr(PainterProcessing, "price_micro_usd", lambda *_: micro_usd)


def test_as_many_are_made_as_the_money_pays_and_what_is_stored_is_fetched_all_the_same(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "money", "u.png")
    process(folder)
    write(folder, "v.png", "w.png", "x.png")
    bill_each(monkeypatch, 30_000)
    answer = process(folder, "--max-usd", "0.07", "--output", tmp_path / "paid")
    assert told(answer) == (EXIT_OK, {"cached": 1, "made": 2, "left_out": 1})
    assert answer[1]["booked_usd"] == 0.06
    assert len(files_of(tmp_path / "paid")) == 3


@contextmanager
def started(folder: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, one picture at a time."""
    command = [COPPERPLATE, "process", str(folder), "--operation", "upscale", "--in-flight", "1", "--json"]
    # A shell that starts the tests in the background has its children ignore Ctrl-C.
    with inherited(signal.SIGINT, signal.SIG_DFL):
        running = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables}
        )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def test_ctrl_c_lets_what_is_paid_land_and_the_next_run_goes_on_with_it(
    process: Process, database: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "stopped", "k.png", "l.png", "m.png")
    before = submits(database)
    with started(folder, COPPERPLATE_PAINTER_SECONDS="1") as running:
        wait_until(lambda: submits(database) == before + 1, seconds=30, what="a submit")
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == EXIT_INTERRUPTED, err
    assert err.splitlines()[-1] == "stopped: 3 are left, and the same command goes on with them"
    assert json.loads(out)["failures"] == []
    assert files_of(folder) == ["k.png", "l.png", "m.png"]
    assert told(process(folder, operation="upscale")) == (EXIT_OK, {"made": 2, "cached": 1})
    assert submits(database) == before + 3


def test_the_page_shows_what_the_command_prints(
    settings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = PAGE.read_text().partition("\n## An older system's cache")[0]
    command, shown = (block.partition("\n")[2] for block in section.split("```")[1:4:2])
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "photos", "g.png", "h.jpg")
    shutil.copy("photos/g.png", "photos/g-again.png")
    assert main(command.split()[1:]) == EXIT_OK
    assert capsys.readouterr().out == shown


def test_results_are_found_where_the_picture_comes_as_other_bytes_only_if_they_are_the_same(
    process: Process, tmp_path: Path
) -> None:
    """One changed pixel is another picture, and so is the same one encoded anew."""
    folder = write(tmp_path / "identity", "i.png")
    assert told(process(folder)) == (EXIT_OK, {"made": 1})
    target = BytesIO()
    opened(folder / "i.png").save(target, "PNG", compress_level=0)
    (folder / "i.png").write_bytes(target.getvalue())
    assert told(process(folder, "--output", tmp_path / "anew")) == (EXIT_OK, {"made": 1})


def test_database_that_does_not_answer_ends_the_run_with_3_and_leaves_no_file(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "outage", "n.png", "o.png")

    async def away(*_: object) -> None:
        raise LedgerUnavailable("the database is away")

    monkeypatch.setattr(Processing, "look", away)
    assert main(["process", str(folder), "--operation", "upscale"]) == EXIT_UNAVAILABLE
    assert capsys.readouterr().err.endswith("the database is away [ledger_unavailable]\n")
    assert files_of(folder) == ["n.png", "o.png"]


def test_result_that_was_taken_down_is_told_and_not_made_again(
    process: Process, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "takedown", "t.png")
    assert told(process(folder)) == (EXIT_OK, {"made": 1})
    digest = hashlib.sha256((folder / "t.png").read_bytes()).hexdigest()
    with psycopg.connect(database) as connection:
        question = "select generation_hash from public.processed_image_cache where image_hash = %s"
        ((key,),) = connection.execute(question, [digest]).fetchall()
    assert main(["takedown", key, "--yes"]) == EXIT_OK
    before = submits(database)
    assert fault_codes(process(folder, "--force")) == {"t.png": "taken_down"}
    assert submits(database) == before
