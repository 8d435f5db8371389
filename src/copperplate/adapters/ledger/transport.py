"""What the ledger needs of a way to its database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.adapters.notifier import Notifier

    Row = Mapping[str, Any]
    # By the names in the function's signature. Lists are arrays, durations are `timedelta`, and what is JSON is `Json`.
    Arguments = Mapping[str, Any]

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Json:
    """The argument of a parameter of type jsonb."""

    value: Any


class Transport(Protocol):
    """Calls functions of schema public as `service_role`; the names are the program's own, never a caller's.

    Each call is one transaction. It is repeated where its outcome is unknown or nothing happened, and answers
    or raises within three seconds. All raise `LedgerUnavailable`, `LedgerMisconfigured`.
    """

    max_rows: int
    """How many rows `rows` can answer; the function may have changed more, and those are not seen."""

    hints: Notifier
    """Announces the keys that may have changed, where this transport learns of them."""

    async def row(self, function: LiteralString, arguments: Arguments) -> Row:
        """The row of a function that returns a composite type."""

    async def rows(self, function: LiteralString, arguments: Arguments) -> list[dict[str, Any]]:
        """The rows of a function that returns a table."""

    async def value(self, function: LiteralString, arguments: Arguments, answer: type[Answer]) -> Answer:
        """The value of a function that returns a scalar or JSON, which must be a `answer`."""

    def describe(self) -> Row:
        """What `Statistics.check_setup` adds about the way to the database."""

    async def open(self) -> None:
        """Start what runs beside the calls; an unreachable database shows at the first call."""

    async def close(self) -> None:
        """Give back every connection of its own."""


class Calls:
    """A part of the ledger: methods that each call one function."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
