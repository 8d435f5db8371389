"""`copperplate prices`: what pictures cost, as far as we know."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from copperplate import prices
from copperplate.cli.exit_codes import EXIT_OK
from copperplate.cli.shared import add_command
from copperplate.cli.tables import print_json, print_table

if TYPE_CHECKING:
    import argparse

HEAD = ("provider", "model", "for one", "price", "source")


def add(commands: Any) -> None:
    """The one command."""
    parser = add_command(commands, "prices", run, "show what pictures cost, as far as that is known")
    parser.add_argument("--json", action="store_true", help="for programs; prices in millionths of a dollar")


def run(arguments: argparse.Namespace) -> int:
    """The whole table, and how old it is."""
    if arguments.json:
        table = {
            "version": prices.VERSION,
            "as_of": prices.AS_OF.isoformat(),
            "prices": list(map(asdict, prices.rows())),
        }
        print_json(table)
        return EXIT_OK
    lines = [
        HEAD,
        *((row.provider, row.model, row.unit, prices.dollars(row.micro_usd), row.source) for row in prices.rows()),
    ]
    print_table(lines)
    print(f"\nVersion {prices.VERSION}, as read on {prices.AS_OF}; not checked against a bill.")
    print("The price of any other model is unknown: it is counted as unknown, not as nothing.")
    return EXIT_OK
