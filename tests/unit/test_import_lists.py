"""Lists of pictures that exist already: what a row says, and which line is at fault."""

from __future__ import annotations

from io import StringIO

import pytest

from copperplate.model import PictureFormat
from copperplate.operations.import_lists import FaultyList, FaultyRow, ImportRow, read_list

HEADER = "prompt,dimensions,format,file,url,model,seed\n"


def read(text: str) -> list[ImportRow | FaultyRow]:
    return list(read_list(StringIO(text, newline="")))


def faults(rows: str) -> list[tuple[int, str]]:
    return [(row.line, row.fault) for row in read(HEADER + rows) if isinstance(row, FaultyRow)]


def test_a_row_says_what_its_picture_is_of_and_where_it_lies() -> None:
    assert read(HEADER + '"a fox, red",640x480,png,sub/a.png,, fal-ai/flux/dev ,7\n') == [
        ImportRow(
            line=2,
            prompt="a fox, red",
            width=640,
            height=480,
            format=PictureFormat.PNG,
            source="sub/a.png",
            is_on_web=False,
            model="fal-ai/flux/dev",
            seed="7",
        )
    ]


def test_what_is_optional_may_be_missing_and_columns_stand_in_any_order() -> None:
    [row] = read("URL, Prompt ,dimensions\nhttps://pictures.example/a.png?token=1,fox,64x64\n")
    assert isinstance(row, ImportRow)
    assert (row.format, row.model, row.seed) == (PictureFormat.JPG, None, "")
    assert (row.source, row.is_on_web) == ("https://pictures.example/a.png?token=1", True)
    # Neither a prompt nor a token of an address is in what logs may show.
    assert "fox" not in repr(row)
    assert "token" not in repr(row)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_cells_may_be_parted_as_programs_of_other_countries_do(delimiter: str) -> None:
    text = 'prompt,dimensions,file\n"fox",64x64,a.png\n'
    assert read(text.replace(",", delimiter)) == read(text)


def test_path_is_another_word_for_file() -> None:
    [row] = read("prompt,dimensions,path\nfox,64x64,a.png\n")
    assert isinstance(row, ImportRow)
    assert (row.source, row.is_on_web) == ("a.png", False)


def test_the_line_of_a_row_is_its_first_whatever_lies_before() -> None:
    text = HEADER + '"two\nlines",64x64,,a.png,,,\n\nfox,64x64,,b.png,,,\nfox,64,,c.png,,,\n'
    assert [row.line for row in read(text)] == [2, 5, 6]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("fox\n", "1 cells"),
        ("fox,64x64,,a.png,,,,\n", "8 cells"),
        ("fox,64,,a.png,,,\n", "1024x1024"),
        ("fox,64 x 64,,a.png,,,\n", "1024x1024"),
        ("fox,123456x64,,a.png,,,\n", "1024x1024"),
        ("fox,٦٤x٦٤,,a.png,,,\n", "1024x1024"),
        ("fox,64x64,gif,a.png,,,\n", "format"),
        ("fox,64x64,auto,a.png,,,\n", "write jpg, png, webp or avif"),
        ("caf\udce9,64x64,,a.png,,,\n", "save the list as UTF-8"),
        ("fox,64x64,,,,,\n", "no picture"),
        ("fox,64x64,,a.png,https://pictures.example/a.png,,\n", "two pictures"),
        (f'"{"x" * 200_000}",64x64,,a.png,,,\n', "limit"),
        ('"fox" red,64x64,,a.png,,,\n', "expected after"),
    ],
)
def test_a_faulty_row_is_told_by_its_line_and_the_others_are_read(row: str, fault: str) -> None:
    good = "fox,64x64,,a.png,,,\n"
    told = read(HEADER + good + row + good)
    assert [type(each) for each in told] == [ImportRow, FaultyRow, ImportRow]
    [(line, said)] = faults(good + row + good)
    assert line == 3
    assert fault in said


def test_a_quote_that_is_never_closed_is_one_faulty_row() -> None:
    assert [line for line, _ in faults('fox,64x64,,a.png,,,\n"fox,64x64,,a.png,,,\nfox,64x64,,a.png,,,\n')] == [3]


@pytest.mark.parametrize(
    "text",
    ["", "\n", "prompt,file\n", "prompt,dimensions\n", HEADER.replace("seed", "prompt"), f'"{"x" * 200_000}"\n'],
    ids=["nothing", "empty", "no dimensions", "no place", "a column twice", "too long"],
)
def test_a_list_without_a_usable_header_is_no_list(text: str) -> None:
    with pytest.raises(FaultyList):
        read(text)


def test_columns_that_mean_nothing_are_told_once() -> None:
    told: list[list[str]] = []
    text = "prompt,dimensions,file,modell,\nfox,64x64,a.png,m,\nfox,64x64,a.png,m,\n"
    assert len(list(read_list(StringIO(text), ignored=told.append))) == 2
    assert told == [["modell"]]
