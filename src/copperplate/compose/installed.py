"""Whether the packages of an extra are installed."""

from __future__ import annotations

import importlib.util

from copperplate.errors import Misconfigured


def check_installed(module: str, extra: str) -> None:
    """Raise `Misconfigured`, naming the extra to install, where `module` is missing."""
    if missing := not_installed(extra, module):
        raise Misconfigured(f"What this needs is not installed: {missing}.")


def not_installed(extra: str, *modules: str) -> str | None:
    """What to run where one of `modules` is missing; None where all are there."""
    if all(importlib.util.find_spec(module) for module in modules):
        return None
    return f"pip install 'copperplate[{extra}]'"
