"""What is removed for good is asked about: on a terminal by a question, elsewhere by `--yes`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from copperplate.cli.shared import say

if TYPE_CHECKING:
    import argparse

REMOVAL: Final = "removes something for good"


def add_yes(parser: argparse.ArgumentParser) -> None:
    """The option of every command that asks."""
    parser.add_argument("--yes", action="store_true", help="do not ask; needed where no terminal is at hand")


def can_be_had(arguments: argparse.Namespace, what: str = REMOVAL) -> bool:
    """Whether `--yes` was given, or somebody can be asked. If neither, it says so: nothing may be done then.

    `what` says what the command does.
    """
    if arguments.yes or (sys.stdin is not None and sys.stdin.isatty()):
        return True
    say(f"copperplate: this {what}, and nobody can be asked here: add --yes to do it [usage]")
    return False


def is_given(arguments: argparse.Namespace, loss: str, *, verb: str = "removes") -> bool:
    """Whether to go on, once it is said what goes; anything but yes is no. `verb` is removes, or drops, of copies."""
    if arguments.yes:
        return True
    say(f"This {verb} {loss}.")
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    is_yes = sys.stdin.readline().strip().lower() in ("y", "yes")
    if not is_yes:
        say(f"nothing was {'dropped' if verb == 'drops' else 'removed'}")
    return is_yes
