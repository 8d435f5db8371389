"""What names of kept pictures stand for, remembered in memory."""

from __future__ import annotations

from copperplate.feed import Cursor, Fill
from copperplate.model import Size
from copperplate.ports.kept_pictures import KeptPicture
from copperplate.tiers.names import KnownNames

FILL = Fill(Cursor(1, 1), "a ledger")
LATER = Fill(Cursor(9, 9), "a ledger")


def kept(generation_key: str) -> KeptPicture:
    return KeptPicture(
        kind="image",
        generation_key=generation_key,
        model="m",
        canvas=Size(width=1, height=1),
        key="k",
        format="png",
        quality=None,
        size=Size(width=1, height=1),
        is_original=True,
        is_sized=False,
    )


def test_names_used_longest_ago_go_first() -> None:
    names = KnownNames(max_names=2)
    names.keep("a", kept("1"), FILL)
    names.keep("b", kept("1"), FILL)
    assert names.find("a") == kept("1")
    names.keep("c", kept("2"), FILL)
    assert [names.find(name) is not None for name in "abc"] == [True, False, True]
    assert len(names) == len(names._names_of) == 2


def test_name_that_stands_for_another_picture_is_no_name_of_the_first() -> None:
    names = KnownNames()
    names.keep("a", kept("1"), FILL)
    names.keep("a", kept("2"), FILL)
    names.drop_wrong("1", lambda *_: False)
    assert names.find("a") == kept("2")


def test_generation_drops_its_names_that_are_wrong() -> None:
    names = KnownNames()
    names.keep("a", kept("1"), FILL)
    names.keep("b", kept("1"), LATER)
    names.keep("c", kept("2"), FILL)
    names.drop_wrong("1", lambda _, fill: fill == LATER)
    assert [names.find(name) is not None for name in "abc"] == [False, True, True]
    names.drop_wrong(None, lambda _, fill: fill == LATER)
    assert [names.find(name) is not None for name in "abc"] == [False, True, False]
    names.drop_wrong("nobody", lambda *_: False)
