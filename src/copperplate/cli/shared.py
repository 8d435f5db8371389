"""What commands share: settings, the database, types of arguments, messages."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID, uuid4

from copperplate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from copperplate.adapters.ledger.sql_ledger import SqlLedger

Answer = TypeVar("Answer")


def add_command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    """A command with what all of them take."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", allow_abbrev=False
    )
    parser.add_argument(
        "--data-dir",
        type=_folder,
        help="folder of the local database and pictures (default: COPPERPLATE_DATA_DIR or .copperplate)",
    )
    parser.set_defaults(command=function)
    return parser


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The environment, overridden by the command line; raises `Misconfigured`."""
    return _with_whole_path(Settings.from_env(_environ(arguments)))


def read_settings(arguments: argparse.Namespace) -> tuple[Settings, dict[str, str]]:
    """The settings that can be read, and the faults by variable."""
    settings, faults = Settings.read(_environ(arguments))
    return _with_whole_path(settings), faults


def _environ(arguments: argparse.Namespace) -> Mapping[str, str]:
    folder = arguments.data_dir
    return os.environ if folder is None else {**os.environ, "COPPERPLATE_DATA_DIR": str(folder)}


def _with_whole_path(settings: Settings) -> Settings:
    return replace(settings, data_dir=settings.data_dir.expanduser().absolute())


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """DATABASE_URL, or the local database, started for this command if it does not run."""
    from copperplate.local.stack import open_database

    if settings.database_url is not None:
        yield settings.database_url
        return
    forget_libpq_variables()
    with open_database(settings.data_dir, say) as url:
        yield url


@contextmanager
def with_database(settings: Settings) -> Iterator[Settings]:
    """Settings that name a database: those given, or else the local one's."""
    if settings.supabase_url is not None:
        yield settings
        return
    with database_url(settings) as url:
        yield replace(settings, database_url=url)


def ask_ledger(arguments: argparse.Namespace, ask: Callable[[SqlLedger, Settings], Awaitable[Answer]]) -> Answer:
    """What one connection to the ledger answers, under the settings of this command."""
    from copperplate.compose import open_backend

    async def run(settings: Settings) -> Answer:
        async with open_backend(settings) as (ledger, _):
            return await ask(ledger, settings)

    with with_database(settings_of(arguments)) as settings:
        return asyncio.run(run(settings))


def forget_libpq_variables() -> None:
    """The local database's URL is complete; PGHOSTADDR, PGSERVICE and others would point it elsewhere."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def port(raw: str) -> int:
    """A port number."""
    return between(raw, 0, 65_535)


def workers(raw: str) -> int:
    """How many server processes."""
    return between(raw, 1, 64)


def between(raw: str, least: int, most: int) -> int:
    """A whole number of a range, or the error that argparse shows."""
    if not raw.isascii() or not raw.isdigit() or not least <= int(raw) <= most:
        raise argparse.ArgumentTypeError(f"a whole number from {least} to {most}, not {raw!r}")
    return int(raw)


# Of a form that is not stored yet, or finds no place, X-Copperplate-Key names nothing that is known.
A_KEY: Final = "a generation's key, as in X-Copperplate-Generation-Key, or a stored form's, as in X-Copperplate-Key"
WHERE_KEYS_ARE: Final = (
    "X-Copperplate-Generation-Key of an answer, and `copperplate explain URL`, tell the key that stands for all forms "
    "of a picture"
)


def key_of(raw: str) -> str:
    """A key, or the error that argparse shows."""
    from copperplate.recipes.objects import KEY

    if not KEY.fullmatch(raw):
        advice = ": `copperplate explain URL` says the keys of an address" if "/" in raw else ""
        raise argparse.ArgumentTypeError(f"64 of 0-9 and a-f, not {raw!r}{advice}")
    return raw


def user_id(raw: str) -> UUID:
    """A user's id, or the error that argparse shows."""
    try:
        return UUID(raw)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a user's id, such as {uuid4()}, not {raw!r}") from None


def say(line: str) -> None:
    """Progress and errors go to stderr, so that stdout can be piped."""
    print(line, file=sys.stderr, flush=True)


def _folder(raw: str) -> Path:
    if not raw:
        raise argparse.ArgumentTypeError("name a folder")
    return Path(raw)
