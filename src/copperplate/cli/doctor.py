"""`copperplate doctor`: is everything there, and what to do where it is not."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Any

from copperplate.adapters.system_clock import SystemClock
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_OK
from copperplate.cli.shared import add_command, read_settings, with_database
from copperplate.doctor import PLACES, Finding, Level, examine

if TYPE_CHECKING:
    import argparse

    from copperplate.settings import Settings


def add(commands: Any) -> None:
    """The command."""
    doctor = add_command(commands, "doctor", run_doctor, "look at everything a deployment needs; says what to do")
    doctor.add_argument("--generate", action="store_true", help="also make a picture, which may cost money")
    doctor.add_argument("--json", action="store_true", help="for programs")


def run_doctor(arguments: argparse.Namespace) -> int:
    """A line per check; 1 where one failed."""
    settings, faults = read_settings(arguments)

    async def run(settings: Settings) -> list[Finding]:
        found = []
        examined = examine(settings, SystemClock(), faults=faults, generate=arguments.generate)
        async with aclosing(examined) as findings:
            async for finding in findings:
                found.append(finding)
                if not arguments.json:
                    print(f"{finding.level:<8} {finding.what:<16}  {finding.detail}", flush=True)
        return found

    # The local database is only started where the settings name no other.
    with nullcontext(settings) if faults.keys() & PLACES else with_database(settings) as complete:
        found = asyncio.run(run(complete))
    if arguments.json:
        lines = [{"what": finding.what, "level": finding.level, "said": finding.detail} for finding in found]
        print(json.dumps(lines, indent=2))
    return EXIT_FAILED if any(finding.level is Level.FAILED for finding in found) else EXIT_OK
