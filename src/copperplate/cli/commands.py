"""Every command, and what an error of one means for the exit code."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

from copperplate.cli import serve
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_UNAVAILABLE
from copperplate.cli.serve import EXAMPLE
from copperplate.cli.shared import say
from copperplate.errors import CopperplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["EXAMPLE", "build_parser", "run"]

EXIT_CODES = """exit codes:
  0  done
  1  it failed; the message says why and what to do
  2  the command line cannot be understood
  3  something needed does not run or does not answer
  130  Ctrl-C ended it"""


def run(argv: Sequence[str] | None) -> int:
    """Run one command; answers its exit code."""
    words = sys.argv[1:] if argv is None else argv
    arguments = build_parser(words[0] if words else None).parse_args(words)
    try:
        command: Callable[[argparse.Namespace], int] = arguments.command
        return command(arguments)
    except CopperplateError as error:
        say(f"copperplate: {error} [{error.code}]")
        return EXIT_UNAVAILABLE if error.http_status == 503 else EXIT_FAILED
    except ModuleNotFoundError as error:
        # Everything but the recipes is an extra. A missing module of our own is a bug: keep its traceback.
        if error.name is None or error.name.partition(".")[0] == "copperplate":
            raise
        say(f"copperplate: {error.name} is not installed: pip install 'copperplate[all]' [not_installed]")
        return EXIT_UNAVAILABLE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has closed its end
        return EXIT_OK


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The whole command line; for a server that command alone, since what the others import doubles its start."""
    parser = argparse.ArgumentParser(
        prog="copperplate",
        description="Makes each distinct AI picture once and serves every later request from the cache.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # An abbreviated option may become ambiguous in the next release.
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"copperplate {version('copperplate')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve.add(commands)
    if command not in serve.NAMES:
        from copperplate.cli import other_commands

        other_commands.add(commands)
    return parser
