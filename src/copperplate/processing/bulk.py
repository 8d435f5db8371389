"""Many pictures processed at once: each looked up by the digest of its bytes first, and made where it is missing.

A stored result is fetched, and nothing is decoded for it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from copperplate.errors import (
    CopperplateError,
    GenerationFailed,
    InvalidRequest,
    Misconfigured,
    ObjectMissing,
    Unavailable,
)
from copperplate.failure_classes import FailureClass
from copperplate.generation.digests import digest_of
from copperplate.model import Outcome, PictureFormat
from copperplate.ports.sources import SourceRefused
from copperplate.recipes.processed import processed_recipe, processed_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from copperplate.access.caller import Caller
    from copperplate.access.gate import Gate
    from copperplate.generation.lookup import LookupResult
    from copperplate.model import Entry, PictureRequest
    from copperplate.ports.sources import PictureSource
    from copperplate.processing.service import Processing
    from copperplate.processing_models import ProcessingModel
    from copperplate.serving.request_meter import RequestMeter


# What fails so may be on the bill all the same, or be billed yet.
MAY_BE_BILLED: Final = frozenset(
    {
        FailureClass.MODERATED,
        FailureClass.AMBIGUOUS,
        FailureClass.BAD_OUTPUT,
        FailureClass.ABANDONED,
        FailureClass.UNCOLLECTED,
        FailureClass.LOST,
    }
)


class Ending(StrEnum):
    """What became of one picture."""

    CACHED = "cached"  # its result was stored before, or was made for somebody else meanwhile
    MADE = "made"  # in a dry run: would be
    UNCHANGED = "unchanged"  # its result lies where it would be written
    LEFT_OUT = "left_out"  # the money that was allowed does not pay it
    FAILED = "failed"


class OutputExists(InvalidRequest, code="output_exists", title="Something else lies where the result would be written"):
    """Another file has the name of the result, and nobody said that it may be replaced."""


class OutputNotWritten(InvalidRequest, code="output_not_written", title="The result cannot be written"):
    """The result is stored, and the file that it should be written to cannot be."""


class Results(Protocol):
    """Where results are written, by the names of what they are made from."""

    async def digests(self, name: str) -> Mapping[PictureFormat, str]:
        """The SHA-256 of each file that may be the result of that one, by its format. Raises `OutputNotWritten`."""

    async def write(self, name: str, body: bytes, form: PictureFormat) -> None:
        """Write a result whole, or not at all. Raises `OutputExists`, `OutputNotWritten`."""


@dataclass(slots=True, kw_only=True, eq=False)
class BulkProcessing:
    """One run of one operation, for one caller. `done` is told of each picture, and of its fault where there is one.

    `max_micro_usd` is what may be booked in all, in millionths of a dollar; None leaves it to the budgets.
    """

    caller: Caller
    processing: Processing
    gate: Gate
    meter: RequestMeter
    files: PictureSource
    results: Results
    model: ProcessingModel
    parameters: Mapping[str, str]
    done: Callable[[str, str | None], None]
    may_replace: bool = False
    is_dry_run: bool = False
    max_micro_usd: int | None = None
    endings: Counter[Ending] = field(default_factory=Counter)
    faults: list[tuple[str, str, str]] = field(default_factory=list)
    # What results may be booked at, by their keys, and how many files wait for each: of the same bytes it is one.
    allowed: dict[str, int] = field(default_factory=dict)
    allowed_micro_usd: int = 0
    waiting: Counter[str] = field(default_factory=Counter)
    made: set[str] = field(default_factory=set)

    @property
    def ended(self) -> int:
        """How many pictures have ended, however."""
        return sum(self.endings.values())

    @property
    def booked_micro_usd(self) -> int:
        """What the results that were made are booked at, or would be."""
        return sum(amount for key, amount in self.allowed.items() if key in self.made)

    async def process(self, name: str) -> None:
        """One picture, to the end. A fault of its own is told and passed over.

        Raises `Unavailable` and `Misconfigured` where the ledger, the store or a setting is at fault.
        """
        try:
            ending = await self._process(name)
        except (Unavailable, Misconfigured):
            raise
        except SourceRefused as refused:
            self._fail(name, "unreadable", str(refused))
        except CopperplateError as error:
            self._fail(name, error.code, str(error))
        else:
            self.endings[ending] += 1
            self.done(name, None)

    def _fail(self, name: str, code: str, message: str) -> None:
        self.endings[Ending.FAILED] += 1
        self.faults.append((name, code, message))
        self.done(name, f"{message} [{code}]")

    async def _process(self, name: str) -> Ending:
        body = await self.files.read(name)
        present = await self.results.digests(name)
        recipe = processed_recipe(await digest_of(body), self.model, self.parameters)
        request = processed_request(recipe)
        entry = await self.processing.look(request)
        if entry is not None and present.get(PictureFormat(entry.format)) == entry.digest:
            return Ending.UNCHANGED
        if present and not self.may_replace:
            raise OutputExists("A file has the name of its result: --force replaces it, --output writes elsewhere.")
        if entry is None:
            return await self._make(name, body)
        if not self.is_dry_run:
            self.meter.count(request, Outcome.HIT, size_bytes=entry.size_bytes, seconds=0.0)
            await self._write(name, entry)
        return Ending.CACHED

    async def _make(self, name: str, body: bytes) -> Ending:
        source = await self.processing.sources.of_bytes(body, self.caller)
        request = self.processing.request_for(source, self.model, self.parameters)
        key = request.generation_key
        if not self._allows(request):
            return Ending.LEFT_OUT
        if self.is_dry_run:
            is_first = key not in self.made
            self.made.add(key)
            return Ending.MADE if is_first else Ending.CACHED
        found = await self._found(request)
        await self._write(name, found.entry, found.body)
        return Ending.MADE if found.outcome is Outcome.GENERATED else Ending.CACHED

    async def _found(self, request: PictureRequest) -> LookupResult:
        """The result, waited for. What it may cost stays reserved until it is known to have cost this run nothing."""
        key, may_be_billed = request.generation_key, False
        self.waiting[key] += 1
        try:
            found = await self.processing.wait_for(request, self.caller)
            if found.outcome is Outcome.GENERATED:
                self.made.add(key)
        except GenerationFailed as failed:
            may_be_billed = failed.failure_class in MAY_BE_BILLED
            raise
        finally:
            self.waiting[key] -= 1
            if not (may_be_billed or self.waiting[key] or key in self.made):
                self.allowed_micro_usd -= self.allowed.pop(key, 0)
        return found

    def _allows(self, request: PictureRequest) -> bool:
        """Whether the money that is allowed pays this one as well; if so, it is reserved."""
        key = request.generation_key
        if key in self.allowed:
            return True
        spending = self.gate.permit(self.caller, request).spending
        amount = 0 if spending is None else spending.amount_micro_usd
        if self.max_micro_usd is not None and self.allowed_micro_usd + amount > self.max_micro_usd:
            return False
        self.allowed[key] = amount
        self.allowed_micro_usd += amount
        return True

    async def _write(self, name: str, entry: Entry, body: bytes | None = None) -> None:
        if body is None:
            try:
                body = await self.processing.sources.store.get(entry.path)
            except ObjectMissing:
                raise OutputNotWritten("The result was removed at this moment. Run the command again.") from None
        await self.results.write(name, body, PictureFormat(entry.format))
