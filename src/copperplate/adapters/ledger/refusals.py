"""The errors that functions of the database raise for callers to be told, by their SQLSTATE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.denials import TooManyOpenWishes
from copperplate.errors import LedgerMisconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copperplate.errors import CopperplateError

STANDBY = "the database is a standby, whose feed of invalidations would miss some: connect to the primary"

REFUSALS: Final[Mapping[str | None, Callable[[], CopperplateError]]] = {
    "ZC014": TooManyOpenWishes,
    "ZC015": lambda: LedgerMisconfigured(STANDBY),
}
