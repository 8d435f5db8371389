"""Every command but the servers, in the order in which help lists them."""

from __future__ import annotations

from typing import Any

from copperplate.cli import (
    accounts,
    budget,
    database,
    doctor,
    explain,
    importing,
    importing_processed,
    keys,
    prices,
    process,
    purging,
    sign,
    takedowns,
    token,
    warm,
    work,
)
from copperplate.cli import operations as care


def add(commands: Any) -> None:
    """Add all of them."""
    database.add(commands)
    explain.add(commands)
    sign.add(commands)
    database.add_stats(commands)
    work.add(commands)
    importing.add(commands)
    process.add(commands)
    importing_processed.add(commands)
    care.add(commands)
    purging.add(commands)
    warm.add(commands)
    takedowns.add(commands)
    budget.add(commands)
    accounts.add(commands)
    token.add(commands)
    keys.add(commands)
    prices.add(commands)
    doctor.add(commands)
