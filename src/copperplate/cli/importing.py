"""`copperplate import` keeps pictures that exist already: no provider is called, and nothing is paid."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from copperplate.cli.arguments import add_json
from copperplate.cli.database import show
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from copperplate.cli.progress_bar import progress
from copperplate.cli.shared import add_command, say, settings_of, with_database
from copperplate.compose import open_services
from copperplate.operations.import_lists import FaultyList, read_list
from copperplate.operations.import_pictures import PictureImport
from copperplate.operations.keep_pictures import Ending
from copperplate.recipes.kinds import IMAGE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import TextIO

    from copperplate.cli.progress_bar import ProgressBar
    from copperplate.settings import Settings

# A longer line is no row: it is read in pieces, each of them a faulty one.
MAX_LINE_CHARS: Final = 1_000_000


def add(commands: Any) -> None:
    """Add `import`."""
    parser = add_command(
        commands, "import", run_import, "keep pictures that exist already; no provider is called and nothing is paid"
    )
    parser.add_argument(
        "list",
        type=Path,
        metavar="FILE.csv",
        help="columns: prompt, dimensions (1024x1024), file or url; optional: format, model (that made it), seed",
    )
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="the folder that files lie below")
    parser.add_argument("--dry-run", action="store_true", help="only verify the pictures and count what would be kept")
    add_json(parser)


def run_import(arguments: argparse.Namespace) -> int:
    """Keep what the list names; 1 if some of it could not be."""
    settings = settings_of(arguments)
    if not arguments.root.is_dir():
        say(f"copperplate: --root is no folder: {arguments.root} [usage]")
        return EXIT_USAGE
    try:
        total = _count_rows(arguments.list)
    except (OSError, FaultyList) as error:
        why = error.strerror if isinstance(error, OSError) else error
        say(f"copperplate: {arguments.list} cannot be read as a list: {why} [usage]")
        return EXIT_USAGE
    with with_database(settings) as opened, progress(total, "import") as bar:
        figures = asyncio.run(_import(opened, arguments, bar))
    show(figures, as_json=arguments.json)
    return EXIT_FAILED if figures["failed"] else EXIT_OK


def _count_rows(path: Path) -> int:
    """How many rows there are. Raises `FaultyList`, `OSError`."""
    with _opened(path) as lines:
        return sum(1 for _ in read_list(lines, ignored=lambda names: say(f"ignored columns: {', '.join(names)}")))


async def _import(settings: Settings, arguments: argparse.Namespace, bar: ProgressBar) -> dict[str, Any]:
    def done(line: int, fault: str | None) -> None:
        bar.advance()
        if fault is not None:
            bar.say(f"line {line}: {fault}")

    # Here: httpx is an extra, which no other command of this module needs.
    from copperplate.adapters.picture_sources import Folder, Web, make_web_client

    async with open_services(settings) as services, make_web_client(ssl.create_default_context()) as client:
        run = PictureImport(
            coordinator=services.coordinator,
            ledger=services.ledger,
            images=services.images,
            provider=services.provider_of(IMAGE.name),
            gate=services.gate,
            files=Folder(arguments.root, IMAGE.max_bytes),
            web=Web(client, IMAGE.max_bytes),
            done=done,
            is_dry_run=arguments.dry_run,
        )
        with _opened(arguments.list) as lines:
            await run.run(read_list(lines))
    kept = "would_be_kept" if arguments.dry_run else "kept"
    return {
        kept: run.endings[Ending.KEPT],
        "bytes": run.kept_bytes,
        "skipped": run.endings[Ending.SKIPPED],
        "failed": run.endings[Ending.FAILED],
    }


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Iterator[str]]:
    # Spreadsheets write a byte order mark; a byte that is no text makes a row faulty, and not the list.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        yield _lines(file)


def _lines(file: TextIO) -> Iterator[str]:
    return iter(partial(file.readline, MAX_LINE_CHARS), "")
