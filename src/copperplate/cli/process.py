"""`copperplate process`: files and folders processed, each distinct picture once; what is stored is fetched."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from copperplate.cli.arguments import add_json, dollar_amount
from copperplate.cli.database import show
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from copperplate.cli.progress_bar import progress
from copperplate.cli.shared import add_command, between, say, settings_of, with_database
from copperplate.cli.warm_figures import RunProgress
from copperplate.errors import InvalidRequest, Misconfigured, Unavailable
from copperplate.prices import MICRO
from copperplate.source_pictures import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.cli.picture_files import ResultFiles
    from copperplate.processing.bulk import BulkProcessing
    from copperplate.services import Services
    from copperplate.settings import Settings

MAX_IN_FLIGHT: Final = 100


def add(commands: Any) -> None:
    """The command."""
    process = add_command(
        commands, "process", run_process, "process picture files; what was processed before is fetched"
    )
    process.add_argument("files", nargs="+", metavar="FILE", help="a picture, or a folder of pictures")
    process.add_argument(
        "--operation",
        required=True,
        type=Operation,
        choices=list(Operation),
        metavar="OPERATION",
        help="one of " + ", ".join(Operation),
    )
    process.add_argument("--model", help="who does it (default: the deployment's first model of the operation)")
    process.add_argument(
        "--param",
        dest="parameters",
        action="append",
        type=_parameter,
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the model, such as scale=2; may be repeated",
    )
    process.add_argument("--output", type=Path, metavar="DIR", help="where results are written (default: beside FILE)")
    process.add_argument("--force", action="store_true", help="replace files that have the names of results")
    process.add_argument("--dry-run", action="store_true", help="only say what is stored and what would be made")
    process.add_argument(
        "--max-usd", type=dollar_amount, metavar="N", help="make as many as N dollars pay (default: the wall alone)"
    )
    process.add_argument(
        "--in-flight",
        type=partial(between, least=1, most=MAX_IN_FLIGHT),
        metavar="N",
        help="so many at a time (default: COPPERPLATE_WORK_ITEMS)",
    )
    add_json(process)


def _parameter(raw: str) -> tuple[str, str]:
    name, equals, value = raw.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"name=value, not {raw!r}")
    return name, value


def run_process(arguments: argparse.Namespace) -> int:
    """Know every file and place first: with a faulty one nothing is spent."""
    from copperplate.cli.picture_files import FaultyFiles, ResultFiles, gather, shown

    results = ResultFiles(arguments.operation, arguments.output, may_replace=arguments.force)
    try:
        names = gather(arguments.files)
        results.name_all(names)
        if arguments.output is not None and not arguments.dry_run:
            arguments.output.mkdir(parents=True, exist_ok=True)
    except (FaultyFiles, OSError) as fault:
        why = f"{shown(str(fault.filename))}: {fault.strerror}" if isinstance(fault, OSError) else fault
        say(f"copperplate: {why} [usage]")
        return EXIT_USAGE
    with with_database(settings_of(arguments)) as settings:
        return asyncio.run(_process(arguments, names, results, settings))


async def _process(
    arguments: argparse.Namespace, names: Sequence[str], results: ResultFiles, settings: Settings
) -> int:
    # The whole program: only here, so that a wrong name is told at once.
    from copperplate.compose import open_services

    async with open_services(settings) as services:
        with progress(len(names), str(arguments.operation)) as bar:
            try:
                run_progress = RunProgress(bar, total=len(names), what=str(arguments.operation))
                bulk = _bulk(arguments, results, services, run_progress)
            except InvalidRequest as fault:
                say(f"copperplate: {fault} Nothing was spent [{fault.code}]")
                return EXIT_USAGE
            is_stopped = await _run(bulk, names, arguments.in_flight or settings.work_items)
    _show(bulk, len(names), as_json=arguments.json)
    if is_stopped:
        left = len(names) - bulk.ended
        say(f"stopped: {left:,} are left, and the same command goes on with them")
        return EXIT_INTERRUPTED
    return EXIT_FAILED if bulk.faults else EXIT_OK


def _bulk(
    arguments: argparse.Namespace, results: ResultFiles, services: Services, run_progress: RunProgress
) -> BulkProcessing:
    """The run. Raises `InvalidModel`, `InvalidParameter`."""
    from copperplate.access.caller import THE_OWNER
    from copperplate.cli.picture_files import Files, shown
    from copperplate.processing.bulk import BulkProcessing
    from copperplate.recipes.kinds import PROCESSED

    def done(name: str, fault: str | None) -> None:
        if fault is not None:
            run_progress.say(f"{shown(name)}: {fault}")
        run_progress.see(bulk.ended)

    model = services.processing.model_for(arguments.operation, arguments.model)
    parameters = dict(arguments.parameters)
    model.canonical_parameters(parameters)
    bulk = BulkProcessing(
        caller=THE_OWNER,
        processing=services.processing,
        gate=services.gate,
        meter=services.request_meter,
        files=Files(PROCESSED.max_bytes),
        results=results,
        model=model,
        parameters=parameters,
        done=done,
        may_replace=arguments.force,
        is_dry_run=arguments.dry_run,
        max_micro_usd=arguments.max_usd,
    )
    return bulk


async def _run(bulk: BulkProcessing, names: Sequence[str], in_flight: int) -> bool:
    """Process all; whether somebody stopped it. What is paid by then is stored, and the next run fetches it."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Ignored it stays ignored, as for a shell's background job.
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    remaining = iter(names)

    async def work() -> None:
        for name in remaining:
            await bulk.process(name)

    works = [work() for _ in range(min(in_flight, len(names)))]
    working = asyncio.create_task(_together(works))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    is_stopped = not working.done()
    for task in (working, stopping):
        task.cancel()
    await asyncio.wait((working, stopping))
    if not is_stopped:
        working.result()
    return is_stopped


async def _together(works: Sequence[Any]) -> None:
    """Raises the first error of them, alone; the others end with it."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in works:
                group.create_task(each)
    except* (Unavailable, Misconfigured) as failed:
        raise failed.exceptions[0] from None


def _show(bulk: BulkProcessing, files: int, *, as_json: bool) -> None:
    from copperplate.processing.bulk import Ending

    made = "would_be_made" if bulk.is_dry_run else "made"
    figures: dict[str, Any] = {
        "files": files,
        "cached": bulk.endings[Ending.CACHED],
        made: bulk.endings[Ending.MADE],
        "unchanged": bulk.endings[Ending.UNCHANGED],
        "left_out": bulk.endings[Ending.LEFT_OUT],
        "failed": bulk.endings[Ending.FAILED],
        "booked_usd": bulk.booked_micro_usd / MICRO,
    }
    if as_json:
        faults = [{"file": name, "code": code, "message": message} for name, code, message in bulk.faults]
        print(json.dumps({**figures, "failures": faults}, indent=2))
        return
    show(figures, as_json=False)
