"""`copperplate import-processing-cache` keeps what an older system processed: nobody is asked, and nothing is paid."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copperplate.cli.arguments import add_json
from copperplate.cli.database import show
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from copperplate.cli.progress_bar import progress
from copperplate.cli.shared import add_command, say, settings_of, with_database
from copperplate.compose import open_services
from copperplate.errors import InvalidRequest
from copperplate.operations.import_processed import ProcessedImport
from copperplate.operations.keep_pictures import Ending
from copperplate.operations.processing_caches import CachedResult, FaultyCache, read_cache
from copperplate.recipes.kinds import PROCESSED
from copperplate.source_pictures import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.cli.progress_bar import ProgressBar
    from copperplate.operations.processing_caches import FaultyResult
    from copperplate.settings import Settings


def add(commands: Any) -> None:
    """The command."""
    parser = add_command(
        commands,
        "import-processing-cache",
        run_import,
        "keep what an older system processed; nobody is asked and nothing is paid",
    )
    parser.add_argument(
        "cache",
        type=Path,
        metavar="FILE.json",
        help='{"<sha256 of the picture>": {"bgRemoved": path, "upscaled": path, "faceDetailed": path}, …}',
    )
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="the folder that paths lie below")
    parser.add_argument(
        "--model",
        dest="models",
        action="append",
        type=_model,
        default=[],
        metavar="OPERATION=NAME",
        help="who made the results of an operation (default: the model that does it here); may be repeated",
    )
    parser.add_argument("--dry-run", action="store_true", help="only verify the pictures and count what would be kept")
    add_json(parser)


def _model(raw: str) -> tuple[Operation, str]:
    name, _, model = raw.partition("=")
    if name not in set(Operation) or not model:
        raise argparse.ArgumentTypeError(f"operation=model with one of {', '.join(Operation)}, not {raw!r}")
    return Operation(name), model


def run_import(arguments: argparse.Namespace) -> int:
    """Keep what the file names; 1 if some of it could not be."""
    settings = settings_of(arguments)
    if not arguments.root.is_dir():
        say(f"copperplate: --root is no folder: {arguments.root} [usage]")
        return EXIT_USAGE
    try:
        results = read_cache(arguments.cache.read_bytes())
    except (OSError, FaultyCache) as error:
        why = error.strerror if isinstance(error, OSError) else error
        say(f"copperplate: {arguments.cache} cannot be read as a cache: {why} [usage]")
        return EXIT_USAGE
    with with_database(settings) as opened, progress(len(results), "import") as bar:
        return asyncio.run(_import(opened, arguments, results, bar))


async def _import(
    settings: Settings, arguments: argparse.Namespace, results: Sequence[CachedResult | FaultyResult], bar: ProgressBar
) -> int:
    def done(place: str, fault: str | None) -> None:
        bar.advance()
        if fault is not None:
            bar.say(f"{place}: {fault}")

    # Here: httpx is an extra, which no other command of this module needs.
    from copperplate.adapters.picture_sources import Folder

    named = dict(arguments.models)
    async with open_services(settings) as services:
        try:
            operations = {each.operation for each in results if isinstance(each, CachedResult)} | set(named)
            models = {each: services.processing.model_for(each, named.get(each)) for each in operations}
        except InvalidRequest as fault:
            say(f"copperplate: {fault} [{fault.code}]")
            return EXIT_USAGE
        run = ProcessedImport(
            coordinator=services.coordinator,
            ledger=services.ledger,
            images=services.images,
            gate=services.gate,
            models=models,
            named=named,
            files=Folder(arguments.root, PROCESSED.max_bytes),
            done=done,
            is_dry_run=arguments.dry_run,
        )
        await run.run(results)
    _show(run, as_json=arguments.json)
    return EXIT_FAILED if run.endings[Ending.FAILED] else EXIT_OK


def _show(run: ProcessedImport, *, as_json: bool) -> None:
    kept = "would_be_kept" if run.is_dry_run else "kept"
    figures = {
        kept: run.endings[Ending.KEPT],
        "bytes": run.kept_bytes,
        "skipped": run.endings[Ending.SKIPPED],
        "failed": run.endings[Ending.FAILED],
    }
    show(figures, as_json=as_json)
