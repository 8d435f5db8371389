"""Hints: every watcher of a key hears it, and nobody is remembered for longer than they watch."""

from __future__ import annotations

import pytest

from copperplate.adapters.notifier import Notifier


def test_every_watcher_of_a_key_hears_it_and_nobody_else() -> None:
    hints = Notifier()
    with hints.watch("a") as first, hints.watch("a") as second, hints.watch("b") as other:
        assert first is not second
        hints.announce("a")
        assert first.is_set()
        assert second.is_set()
        assert not other.is_set()


def test_watcher_that_left_leaves_the_others_watching() -> None:
    hints = Notifier()
    with hints.watch("a") as staying:
        with hints.watch("a") as leaving:
            pass
        hints.announce("a")
        assert staying.is_set()
        assert not leaving.is_set()


def test_key_nobody_watches_is_announced_to_nobody_and_not_remembered() -> None:
    hints = Notifier()
    hints.announce("a")
    with hints.watch("a") as event:
        assert not event.is_set()
    assert not hints._watchers


def test_everybody_is_woken_when_something_may_have_been_missed() -> None:
    hints = Notifier()
    with hints.watch("a") as first, hints.watch("b") as second:
        hints.announce_all()
        assert first.is_set()
        assert second.is_set()
    hints.announce_all()


def test_watcher_that_fails_is_forgotten_too() -> None:
    hints = Notifier()
    with pytest.raises(KeyError), hints.watch("a"):
        raise KeyError("of the caller's own")
    assert not hints._watchers
