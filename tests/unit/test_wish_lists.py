"""Lists of pictures to warm: every form, and every way in which a list can be wrong."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from copperplate.errors import InvalidRequest
from copperplate.operations import variants, wish_lists
from copperplate.operations.variants import with_variants
from copperplate.operations.wish_lists import MAX_LINE_CHARS, Listed, ListFault, ListForm, form_of, read_list


def stream_of(raw: str | bytes) -> io.TextIOWrapper:
    body = raw.encode() if isinstance(raw, str) else raw
    return io.TextIOWrapper(io.BytesIO(body), encoding="utf-8", errors="surrogateescape")


def read(raw: str | bytes, form: ListForm | None = None) -> list[tuple[int, Any]]:
    """Line and item of each, or line and code of a fault."""
    return [
        (each.line, each.code if isinstance(each, ListFault) else dict(each.item))
        for each in read_list(stream_of(raw), form)
    ]


def test_text_is_a_prompt_a_line_without_comments_and_blank_lines() -> None:
    assert read("# animals\na fox\n\n  a heron, asleep  \r\n#no\n", ListForm.TEXT) == [
        (2, {"prompt": "a fox"}),
        (4, {"prompt": "a heron, asleep"}),
    ]


def test_csv_cells_become_members_and_empty_ones_say_nothing() -> None:
    rows = 'prompt,width,height,format,model,seed\n"a fox, asleep",512,768,png,,7\na heron,,,,,\n'
    assert read(rows, ListForm.CSV) == [
        (2, {"prompt": "a fox, asleep", "width": 512, "height": 768, "format": "png", "seed": "7"}),
        (3, {"prompt": "a heron"}),
    ]


def test_csv_tells_the_line_at_which_a_row_begins() -> None:
    assert [line for line, _ in read('prompt\n"a fox\nasleep"\n\na heron\n', ListForm.CSV)] == [2, 5]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_takes_the_delimiters_that_programs_write(delimiter: str) -> None:
    rows = f"prompt{delimiter}dimensions\na fox{delimiter}512x512\n"
    assert read(rows, ListForm.CSV) == [(2, {"prompt": "a fox", "dimensions": "512x512"})]


def test_csv_holds_memoji_whose_accessories_are_parted_by_semicolons() -> None:
    rows = "kind,familyType,accessories\nmemoji,mother,glasses;hat\n"
    assert read(rows, ListForm.CSV) == [
        (2, {"kind": "memoji", "familyType": "mother", "accessories": ["glasses", "hat"]})
    ]


def test_the_names_of_columns_may_have_capitals() -> None:
    rows = "Kind,FAMILYTYPE,Prompt,Width\nmemoji,mother,,\n,,a fox,64\n"
    assert read(rows) == [(2, {"kind": "memoji", "familyType": "mother"}), (3, {"prompt": "a fox", "width": 64})]


def test_a_side_that_is_no_number_is_left_to_who_judges_items() -> None:
    assert read("prompt,width\na fox,wide\n", ListForm.CSV) == [(2, {"prompt": "a fox", "width": "wide"})]


def test_a_row_with_more_cells_than_the_header_is_a_fault_of_its_line() -> None:
    assert read("prompt\na fox, asleep\na heron\n", ListForm.CSV) == [(2, "invalid_body"), (3, {"prompt": "a heron"})]


def test_json_lines_are_items_and_others_are_faults_of_their_lines() -> None:
    lines = ['{"prompt": "a fox", "width": 512}', "", "[]", '{"a": 1, "a": 2}', '{"kind": "memoji"}', "{"]
    assert read("\n".join(lines), ListForm.JSONL) == [
        (1, {"prompt": "a fox", "width": 512}),
        (3, "invalid_body"),
        (4, "invalid_body"),
        (5, {"kind": "memoji"}),
        (6, "invalid_body"),
    ]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('{"prompt": "a fox", "n": 3}\n{"prompt": "a heron", "n": 17}\n', ListForm.JSONL),
        ("prompt,n\na fox,3\na heron,17\n", ListForm.CSV),
    ],
)
def test_n_makes_variants_at_the_line_of_their_item(text: str, form: ListForm) -> None:
    *made, fault = with_variants(read_list(io.StringIO(text), form))
    line = 1 if form is ListForm.JSONL else 2
    fox = {"prompt": "a fox"}
    assert made == [Listed(line=line, item=item) for item in (fox, {**fox, "seed": "1"}, {**fox, "seed": "2"})]
    assert isinstance(fault, ListFault)
    assert (fault.line, fault.code) == (line + 1, "invalid_body")


def test_variants_of_a_list_have_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "MAX_ITEMS", 5)
    listed = [Listed(line=line, item={"prompt": "a", "n": 3}) for line in (1, 2)]
    with pytest.raises(InvalidRequest, match="line 2: one run takes 5 pictures"):
        list(with_variants(listed))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.txt", ListForm.TEXT),
        ("b/a.CSV", ListForm.CSV),
        ("a.tsv", ListForm.CSV),
        ("a.jsonl", ListForm.JSONL),
        ("a.ndjson", ListForm.JSONL),
        ("a.csv.gz", None),
        ("-", None),
    ],
)
def test_the_ending_of_a_name_tells_the_form(name: str, form: ListForm | None) -> None:
    assert form_of(name) is form


@pytest.mark.parametrize(
    ("first", "item"),
    [
        ('{"prompt": "a fox"}', {"prompt": "a fox"}),
        ("prompt,dimensions\na fox,512x512", {"prompt": "a fox", "dimensions": "512x512"}),
        ("prompt\na fox", {"prompt": "a fox"}),
        ("A cat, to no prompt", {"prompt": "A cat, to no prompt"}),
        ('"unclosed', {"prompt": '"unclosed'}),
    ],
)
def test_without_a_form_the_first_line_tells_it(first: str, item: dict[str, Any]) -> None:
    assert [found for _, found in read(first)] == [item]


def test_an_empty_list_has_no_items() -> None:
    assert read("") == []


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert read("\ufeffprompt\na fox\n", ListForm.CSV) == [(2, {"prompt": "a fox"})]


@pytest.mark.parametrize(
    ("raw", "form"),
    [
        (b"a caf\xe9\n", ListForm.TEXT),
        (b"prompt\na caf\xe9\n", ListForm.CSV),
        (b'{"prompt": "a caf\xe9"}', ListForm.JSONL),
    ],
)
def test_a_line_that_is_no_utf8_is_told_to_be_saved_as_such(raw: bytes, form: ListForm) -> None:
    [fault] = read_list(stream_of(raw), form)
    assert isinstance(fault, ListFault)
    assert (fault.code, fault.message) == ("invalid_text", "This is not UTF-8. Save the list as UTF-8.")


@pytest.mark.parametrize("raw", ["a fox".encode("utf-16"), "a fox".encode("utf-16-le"), b"\xfe\xff\x00a"])
def test_utf16_is_refused_by_its_name(raw: bytes) -> None:
    with pytest.raises(InvalidRequest, match="UTF-16"):
        read(raw)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ('prompt\n"a fox', "line 2: "),
        ("words\na fox\n", "line 1: the header"),
        ("prompt,prompt\na fox,b\n", "line 1: the header"),
        (f"prompt\n{'a' * (MAX_LINE_CHARS + 1)}\n", "line 2: no line is longer"),
    ],
)
def test_a_list_that_cannot_be_read_on_is_refused_with_its_line(raw: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{said}"):
        read(raw, ListForm.CSV)


def test_a_list_above_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wish_lists, "MAX_ITEMS", 2)
    assert len(read("a\nb\n", ListForm.TEXT)) == 2
    with pytest.raises(InvalidRequest, match=r"^line 4: one run takes 2 items"):
        read("a\nb\n\nc\n", ListForm.TEXT)


def test_a_list_shows_no_prompt_where_it_is_printed() -> None:
    listed = Listed(line=1, item=json.loads('{"prompt": "private"}'))
    assert "private" not in repr(listed)
