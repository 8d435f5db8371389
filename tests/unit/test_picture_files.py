"""Files that `copperplate process` reads and writes: each once, whole, and nobody else's replaced."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from copperplate.cli.picture_files import FaultyFiles, Files, ResultFiles, gather, shown
from copperplate.model import PictureFormat
from copperplate.ports.sources import SourceRefused
from copperplate.processing.bulk import OutputExists, OutputNotWritten
from copperplate.source_pictures import Operation

if TYPE_CHECKING:
    from pathlib import Path

PNG = PictureFormat.PNG


def files(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).write_bytes(name.encode())
    return [str(folder / name) for name in names]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def results(*, folder: Path | None = None, may_replace: bool = False) -> ResultFiles:
    return ResultFiles(Operation.UPSCALE, folder, may_replace=may_replace)


def test_folder_stands_for_its_pictures_without_results_and_a_name_for_itself(tmp_path: Path) -> None:
    a, b, named, _, _ = files(tmp_path, "a.png", "b.JPEG", "a.upscale.png", "notes.txt", "b.face-detail.webp")
    upscale, _ = files(tmp_path, "upscale.png", ".hidden")
    (tmp_path / "below.png").mkdir()
    assert gather([str(tmp_path)]) == [a, b, upscale]
    assert gather([named, str(tmp_path), a]) == [named, a, b, upscale]


def test_what_is_not_there_or_empty_is_told(tmp_path: Path) -> None:
    with pytest.raises(FaultyFiles, match="there is no file"):
        gather([str(tmp_path / "missing.png")])
    with pytest.raises(FaultyFiles, match="no picture"):
        gather([str(tmp_path)])


async def test_results_of_one_name_keep_their_endings_and_what_is_alike_all_the_same_is_told(tmp_path: Path) -> None:
    one, other = files(tmp_path, "one.png", "one.jpg")
    twice, both = results(), results()
    twice.name_all([one, one])
    await twice.write(one, b"result", PNG)
    both.name_all([one, other])
    for name in (one, other):
        await both.write(name, name.encode(), PNG)
    made = ["one.jpg.upscale.png", "one.png.upscale.png", "one.upscale.png"]
    assert names_in(tmp_path) == ["one.jpg", made[0], "one.png", *made[1:]]
    # These are called like results as well: their folder is not processed in circles.
    assert gather([str(tmp_path)]) == [other, one]
    (tmp_path / "below").mkdir()
    (below,) = files(tmp_path / "below", "one.png")
    results().name_all([one, below])
    with pytest.raises(FaultyFiles, match="two folders as --output"):
        results(folder=tmp_path).name_all([one, below])


async def test_result_is_written_beside_its_picture_and_nothing_else_is_left(tmp_path: Path) -> None:
    (one,) = files(tmp_path, "one.png")
    await results().write(one, b"result", PNG)
    assert (tmp_path / "one.upscale.png").read_bytes() == b"result"
    assert names_in(tmp_path) == ["one.png", "one.upscale.png"]
    assert await results().digests(one) == {PNG: hashlib.sha256(b"result").hexdigest()}


async def test_another_file_is_replaced_by_force_alone_and_the_same_bytes_are_no_other_file(tmp_path: Path) -> None:
    (one,) = files(tmp_path, "one.png")
    await results().write(one, b"result", PNG)
    await results().write(one, b"result", PNG)
    with pytest.raises(OutputExists):
        await results().write(one, b"another", PNG)
    assert (tmp_path / "one.upscale.png").read_bytes() == b"result"
    await results(may_replace=True).write(one, b"another", PNG)
    assert (tmp_path / "one.upscale.png").read_bytes() == b"another"
    assert names_in(tmp_path) == ["one.png", "one.upscale.png"]


@pytest.mark.parametrize("kind", ["dangling link", "pipe", "folder"])
async def test_what_is_no_file_counts_as_another_and_is_neither_read_nor_written(tmp_path: Path, kind: str) -> None:
    (one,) = files(tmp_path, "one.png")
    place = tmp_path / "one.upscale.png"
    match kind:
        case "dangling link":
            place.symlink_to(tmp_path / "nowhere")
        case "pipe":
            os.mkfifo(place)
        case _:
            place.mkdir()
    assert await results().digests(one) == {PNG: ""}
    with pytest.raises(OutputExists):
        await results().write(one, b"result", PNG)
    assert not (tmp_path / "nowhere").exists()


async def test_result_that_cannot_be_written_is_told_without_its_place(tmp_path: Path) -> None:
    (one,) = files(tmp_path, "one.png")
    with pytest.raises(OutputNotWritten) as failed:
        await results(folder=tmp_path / "missing").write(one, b"result", PNG)
    assert str(tmp_path) not in str(failed.value)


async def test_files_are_read_wherever_they_lie_but_no_pipe_and_not_beyond_the_bound(tmp_path: Path) -> None:
    one, large = files(tmp_path, "one.png", "a-large-one.png")
    (tmp_path / "link.png").symlink_to(one)
    assert await Files(10).read(str(tmp_path / "link.png")) == b"one.png"
    os.mkfifo(tmp_path / "pipe.png")
    for name in (str(tmp_path / "pipe.png"), large, str(tmp_path / "gone.png")):
        with pytest.raises(SourceRefused):
            await Files(10).read(name)


def test_name_for_a_terminal_controls_nothing() -> None:
    assert shown("täst.png") == "täst.png"
    assert shown("\x1b[2Jx.png") == "'\\x1b[2Jx.png'"
