"""`copperplate warm`: have pictures made before anybody asks for them."""

from __future__ import annotations

import asyncio
import io
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from copperplate.budgets import OWNER
from copperplate.cli.arguments import add_json, dollar_amount
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from copperplate.cli.progress_bar import progress
from copperplate.cli.shared import add_command, between, say, settings_of, with_database
from copperplate.cli.warm_figures import RunProgress, say_faults, show_plan, show_warmed
from copperplate.errors import InvalidRequest
from copperplate.operations.popular import DEFAULT_TOP, MAX_DAYS, MAX_TOP, popular_items
from copperplate.operations.variants import with_variants
from copperplate.operations.warming import Warming
from copperplate.operations.warming_plan import gather, plan_warming
from copperplate.operations.wish_lists import Listed, ListForm, form_of, read_list, with_defaults

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from copperplate.operations.warming import Warmed
    from copperplate.operations.warming_plan import WarmingPlan
    from copperplate.operations.wish_lists import ListFault
    from copperplate.services import Services
    from copperplate.settings import Settings
    from copperplate.wishes import NewWish

STDIN: Final = "-"
MAX_IN_FLIGHT: Final = 1_000


def add(commands: Any) -> None:
    """The command."""
    warm = add_command(commands, "warm", run_warm, "have pictures made before anybody asks for them")
    warm.add_argument("file", nargs="?", metavar="FILE|-", help="prompts, CSV or JSON lines; - reads standard input")
    warm.add_argument(
        "--popular",
        type=partial(between, least=1, most=MAX_DAYS),
        metavar="DAYS",
        help="in place of a file: what was asked for most in the last days",
    )
    warm.add_argument(
        "--top",
        type=partial(between, least=1, most=MAX_TOP),
        metavar="N",
        help=f"with --popular: so many of them (default: {DEFAULT_TOP})",
    )
    warm.add_argument(
        "--as",
        dest="form",
        choices=[form.value for form in ListForm],
        metavar="|".join(ListForm),
        help="how the list is written (default: by the ending of FILE, else by its first line)",
    )
    warm.add_argument("--dimensions", metavar="WxH", help="of items that name none (default: 1024x1024)")
    warm.add_argument("--format", metavar="FORMAT", help="of items that name none (default: jpg)")
    warm.add_argument("--model", help="of items that name none (default: the deployment's)")
    warm.add_argument("--dry-run", action="store_true", help="only say what exists, what is missing and what it costs")
    warm.add_argument(
        "--max-usd", type=dollar_amount, metavar="N", help="make as many as N dollars pay (default: the wall alone)"
    )
    warm.add_argument(
        "--limit",
        type=partial(between, least=1, most=MAX_IN_FLIGHT),
        metavar="N",
        help="in flight at a time (default: COPPERPLATE_WORK_ITEMS)",
    )
    add_json(warm)


def run_warm(arguments: argparse.Namespace) -> int:
    """Read everything first: with one faulty line nothing is spent."""
    if (arguments.file is None) is (arguments.popular is None):
        say("copperplate: name a FILE, - for standard input, or --popular DAYS [usage]")
        return EXIT_USAGE
    if arguments.popular is None and arguments.top is not None:
        say("copperplate: --top goes with --popular [usage]")
        return EXIT_USAGE
    try:
        listed = None if arguments.file is None else _read(arguments.file, arguments.form and ListForm(arguments.form))
    except OSError as fault:
        say(f"copperplate: {arguments.file} cannot be read: {fault.strerror} [usage]")
        return EXIT_USAGE
    except InvalidRequest as fault:
        say(f"copperplate: {fault} Nothing was spent [usage]")
        return EXIT_USAGE
    with with_database(settings_of(arguments)) as settings:
        return asyncio.run(_warm(arguments, listed, settings))


def _read(file: str, form: ListForm | None) -> list[Listed | ListFault]:
    # By bytes of its own: what is not UTF-8 is a fault of its line.
    with open(sys.stdin.fileno() if file == STDIN else file, "rb", closefd=file != STDIN) as raw:
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape")
        return list(with_variants(read_list(stream, form or form_of(file))))


async def _warm(arguments: argparse.Namespace, listed: list[Listed | ListFault] | None, settings: Settings) -> int:
    # The whole program: only here, so that a wrong list is told at once.
    from copperplate.compose import open_services

    async with open_services(settings) as services:
        found = await _popular(arguments, services) if listed is None else listed
        wish_list = gather(found, partial(_wish_of, arguments=arguments, services=services))
        if wish_list.faulty:
            say_faults(wish_list)
            return EXIT_USAGE
        plan = await plan_warming(
            wish_list.wishes,
            ledger=services.ledger,
            price_of=lambda wish: services.price_of(wish.recipe),
            max_micro_usd=arguments.max_usd,
        )
        in_flight = arguments.limit or settings.work_items
        if arguments.dry_run:
            show_plan(wish_list, plan, in_flight=in_flight, as_json=arguments.json)
            return EXIT_OK
        warmed, is_stopped = await _make(plan, in_flight, services)
    show_warmed(wish_list, plan, warmed, as_json=arguments.json)
    if is_stopped:
        say(f"stopped: {warmed.left:,} are left, and the same command goes on with them")
        return EXIT_INTERRUPTED
    return EXIT_FAILED if warmed.failures else EXIT_OK


async def _popular(arguments: argparse.Namespace, services: Services) -> list[Listed | ListFault]:
    items = await popular_items(
        services.ledger,
        days=arguments.popular,
        top=arguments.top or DEFAULT_TOP,
        is_offered=services.offers,
        said=_said(arguments),
    )
    return [Listed(line=rank, item=item) for rank, item in enumerate(items, 1)]


def _wish_of(item: Mapping[str, Any], *, arguments: argparse.Namespace, services: Services) -> NewWish:
    """The owner's wish for an item. Raises the `InvalidRequest` that is wrong with it."""
    from copperplate.generation.lookup import LookupOptions
    from copperplate.http.items import read_item
    from copperplate.wishes import Priority
    from copperplate.work.promises import new_wish

    read = read_item(with_defaults(item, _said(arguments)), services)
    permit = services.gate.permit_of_owner(read.picture_request)
    return new_wish(
        read.picture_request,
        LookupOptions(permit=permit),
        owner=OWNER,
        priority=read.priority or Priority.LOW,
        paths=read.paths,
        echo=read.echo,
    )


def _said(arguments: argparse.Namespace) -> dict[str, str]:
    """What the command line says of images that do not say it themselves."""
    said = {"dimensions": arguments.dimensions, "format": arguments.format, "model": arguments.model}
    return {name: value for name, value in said.items() if value is not None}


async def _make(plan: WarmingPlan, in_flight: int, services: Services) -> tuple[Warmed, bool]:
    """Make what was chosen; what came of it, and whether somebody stopped it."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Ignored it stays ignored, as for a shell's background job.
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    warming = Warming(plan.chosen, owner=OWNER, ledger=services.ledger, clock=services.clock)
    with progress(len(plan.chosen), "warming") as bar:
        run_progress = RunProgress(bar, total=len(plan.chosen))
        warmed = await warming.run(services.work, in_flight=in_flight, stop=stop, on_look=run_progress.see)
    return warmed, stop.is_set()
