"""`copperplate takedown` removes a picture for good, `pin` keeps one from all cleanups."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any, Final

from copperplate.cli import consent
from copperplate.cli.cdns import say_of_cdns, tell_cdns
from copperplate.cli.database import show
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from copperplate.cli.shared import A_KEY, WHERE_KEYS_ARE, add_command, key_of, say, settings_of, with_database
from copperplate.compose import open_backend
from copperplate.model import Condition
from copperplate.operations.purge import ALL
from copperplate.operations.takedown import take_down
from copperplate.ports.takedowns import Found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from copperplate.operations.cdn_purges import CdnReport
    from copperplate.ports.maintenance import Purged
    from copperplate.ports.takedowns import Pin, Takedown
    from copperplate.settings import Settings
    from copperplate.source_pictures import ProcessedResult

MAX_REASON: Final = 500
# It may be the key of one format: then no generation is taken down yet.
_OF_NOTHING: Final = (
    "nothing is known of this key; it is taken down all the same: 410 from now on, --lift takes it back. If it is the "
    "key of one form of a picture, its other forms are served and made until that one is asked for: "
    f"{WHERE_KEYS_ARE}"
)


def add(commands: Any) -> None:
    """Add `takedown`, `pin` and `unpin`."""
    takedown = add_command(
        commands, "takedown", run_takedown, "remove a picture for good: it is answered 410 and never made again"
    )
    takedown.add_argument("key", type=key_of, metavar="KEY", help=f"{A_KEY}, or a source picture's SHA-256")
    takedown.add_argument("--reason", type=_reason, help="for yourself; nobody else is told")
    takedown.add_argument("--lift", action="store_true", help="take it back: the next request makes the picture anew")
    consent.add_yes(takedown)
    takedown.add_argument("--json", action="store_true", help="for programs")

    pin = add_command(commands, "pin", run_pin, "keep a picture, in every format, from all cleanups")
    unpin = add_command(commands, "unpin", run_unpin, "let a pinned picture grow old again")
    for parser in (pin, unpin):
        parser.add_argument("key", type=key_of, metavar="KEY", help=A_KEY)
        parser.add_argument("--json", action="store_true", help="for programs")


def _reason(raw: str) -> str:
    if not 1 <= len(raw.strip()) <= MAX_REASON:
        raise argparse.ArgumentTypeError(f"1 to {MAX_REASON} characters")
    return raw.strip()


def run_takedown(arguments: argparse.Namespace) -> int:
    """Take a picture down, or lift that."""
    if arguments.lift:
        return _lift(arguments)
    settings = settings_of(arguments)
    if not consent.can_be_had(arguments):
        return EXIT_USAGE

    async def tell_loss(opened: Settings) -> str | None:
        async with open_backend(opened) as (ledger, _):
            condition = Condition(key=arguments.key)
            found = await ledger.purge(condition, ALL, is_dry_run=True, with_pinned=True, with_children=True)
            return _loss(found) if found.generations else _loss_of_source(await ledger.find_results(arguments.key))

    async def run(opened: Settings) -> tuple[Takedown, CdnReport | None]:
        async with open_backend(opened) as (ledger, stores):
            taken = await take_down(ledger, arguments.key, reason=arguments.reason, stores=stores)
            return taken, await tell_cdns(opened, ledger, stores)

    with with_database(settings) as opened:
        if not arguments.yes:
            loss = asyncio.run(tell_loss(opened))
            if loss is not None and not consent.is_given(arguments, loss):
                return EXIT_FAILED
        taken, report = asyncio.run(run(opened))
    _show_takedown(taken, as_json=arguments.json)
    say_of_cdns(report)
    return EXIT_OK


def _lift(arguments: argparse.Namespace) -> int:
    async def run(opened: Settings) -> bool:
        async with open_backend(opened) as (ledger, _):
            return await ledger.lift_takedown(arguments.key)

    with with_database(settings_of(arguments)) as opened:
        is_lifted = asyncio.run(run(opened))
    if not is_lifted:
        say(
            "copperplate: this key is not taken down for itself: sql/taken_down.sql lists what is, and "
            "what was taken along with another, which is lifted with that [not_taken_down]"
        )
        return EXIT_FAILED
    if arguments.json:
        show({"key": arguments.key, "lifted": True}, as_json=True)
    else:
        say("the takedown is lifted, with what it took along: the next request makes the picture anew")
    return EXIT_OK


def run_pin(arguments: argparse.Namespace) -> int:
    """Pin a picture."""
    return _set_pin(arguments, is_pinned=True)


def run_unpin(arguments: argparse.Namespace) -> int:
    """Take a pin away."""
    return _set_pin(arguments, is_pinned=False)


def _set_pin(arguments: argparse.Namespace, *, is_pinned: bool) -> int:
    async def run(opened: Settings) -> Pin | None:
        async with open_backend(opened) as (ledger, _):
            return await (ledger.pin(arguments.key) if is_pinned else ledger.unpin(arguments.key))

    with with_database(settings_of(arguments)) as opened:
        pin = asyncio.run(run(opened))
    if pin is None:
        say(
            "copperplate: no picture with this key is kept here. "
            f"{WHERE_KEYS_ARE}; ask for the picture first where nobody did [unknown_key]"
        )
        return EXIT_FAILED
    if arguments.json:
        figures = {"key": pin.generation_key, "status": pin.status, "pinned": is_pinned, "is_new": pin.is_new}
        show(figures, as_json=True)
        return EXIT_OK
    done = "pinned" if is_pinned else "not pinned"
    say(f"generation {pin.generation_key} is {done}{'' if pin.is_new else ', as it was before'}")
    if is_pinned and pin.status != "completed":
        say(f"it has no picture at the moment ({pin.status}); the pin holds for the next one")
    return EXIT_OK


def _show_takedown(taken: Takedown, *, as_json: bool) -> None:
    figures = {
        "generations": taken.generations,
        "descendants": taken.descendants,
        "images": taken.images,
        "bytes": taken.size_bytes,
    }
    if as_json:
        named = {"key": taken.generation_key, "found": taken.found.value, "is_new": taken.is_new}
        show({**named, **figures}, as_json=True)
    else:
        show(figures, as_json=False)
    if taken.found is Found.NOTHING:
        say(_OF_NOTHING)
    elif taken.found is Found.SOURCE and not as_json:
        say(f"nothing is made of the bytes {taken.generation_key} any more; --lift takes it back")
    elif not as_json:
        say(f"generation {taken.generation_key} is taken down: 410 from now on; --lift takes it back")
    if taken.found is Found.TOMBSTONE:
        say("it was taken down before; what was left of it is removed")


def _loss(found: Purged) -> str:
    made_from_it = f" and {found.children:,} made from it" if found.children else ""
    images, size = f"{found.images:,} pictures", f"{found.size_bytes:,} bytes"
    return (
        f"{images} of {found.generations - found.children} generation{made_from_it}, {size}, which are answered 410 "
        "from then on and never made again"
    )


def _loss_of_source(results: Sequence[ProcessedResult]) -> str | None:
    if not results:
        return None
    return (
        f"{len(results):,} pictures made from these bytes, with all made from those, which are answered 410 from then "
        "on and never made again"
    )
