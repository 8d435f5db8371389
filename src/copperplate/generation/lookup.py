"""Options and results of a look-up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from copperplate.model import Outcome

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from copperplate.budgets import Charge, Spending
    from copperplate.errors import CopperplateError
    from copperplate.feed import Fill, Tier
    from copperplate.generation.verified import Verified
    from copperplate.model import Entry, PictureRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """The right of one caller to cause a miss. `access/gate.py` alone makes permits.

    `spending` is what each submit books to budgets; None where the provider bills nothing. A permit with a `denial` may
    follow a generation and never lead one: at a miss the denial is raised.
    """

    spending: Spending | None = None
    denial: CopperplateError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupOptions:
    """What a miss may do: nothing without a permit. `charge` is the credit that pays for it, if one does.

    A picture that is `given` is kept at a miss, and no provider is asked for one. Who `is_patient` waits for as long as
    it takes. What is found in the ledger passes through `load` once for all who share the look-up, before any of them
    is answered: it may add the bytes.
    """

    permit: Permit | None = None
    charge: Charge | None = None
    given: Verified | None = None
    is_patient: bool = False
    load: Callable[[LookupResult], Awaitable[LookupResult]] | None = field(default=None, repr=False, compare=False)

    @property
    def payer(self) -> str | None:
        """Whose credits or budgets pay, as refusals name them."""
        if self.charge is not None:
            return f"user:{self.charge.user}"
        spending = None if self.permit is None else self.permit.spending
        return None if spending is None else spending.payer


LOOK_ONLY: Final = LookupOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupResult:
    """An entry, its outcome, and its bytes if they are in memory.

    A rendition that was made together with its original carries that `original`, and the renditions made `beside` it,
    for callers that joined the flight and asked for another rendition.
    One that is answered before it is kept carries what waits for that: `keeping` answers the entry that stands then, or
    None where the generation keeps as many renditions as it may. `tier` is the one that had it; None: the ledger.
    One that tiers may keep a copy of carries what was known before it was asked for: `fill`. That is of the flight that
    asked the ledger: who joins it may have read since then of an invalidation that its result has not seen.
    One that `is_found` was in the ledger, or is made of an original that was: it took a while to read, and may have
    been declared wrong meanwhile.
    One that `is_shared` was asked for by another caller of this process first. `answers` and `forms` are made once for
    all who share it; `answers` is for whoever sends it, who alone reads and writes it. `fault` is why its bytes, which
    were read for all who wait, are not there: raised where they are wanted.
    """

    entry: Entry
    outcome: Outcome
    body: bytes | None = field(default=None, repr=False)
    original: LookupResult | None = None
    beside: tuple[LookupResult, ...] = ()
    keeping: asyncio.Task[Entry | None] | None = field(default=None, repr=False, compare=False)
    tier: Tier | None = None
    fill: Fill | None = field(default=None, repr=False, compare=False)
    is_found: bool = field(default=False, compare=False)
    is_shared: bool = field(default=False, compare=False)
    fault: CopperplateError | None = field(default=None, repr=False, compare=False)
    # `replace` makes them anew.
    answers: list[Any] = field(default_factory=list, init=False, repr=False, compare=False)
    forms: dict[str, LookupResult] = field(default_factory=dict, init=False, repr=False, compare=False)

    def shared(self) -> LookupResult:
        """The same for callers who joined the flight: the picture was found or generated for another."""
        outcome = Outcome.COALESCED if self.outcome is Outcome.GENERATED else self.outcome
        return replace(self, outcome=outcome, is_shared=True)

    def form_for(self, request: PictureRequest) -> LookupResult | None:
        """The rendition asked for, or the original it can be made from; None where this is another rendition."""
        if self.original is None:
            return self if self.entry.is_original or self.entry.key == request.rendition_key else None
        if (form := self.forms.get(request.rendition_key)) is not None:
            return form
        made = {each.entry.key: each for each in (self, *self.beside)}
        # Without the bytes of the others, which would stay in memory until the last answer is sent.
        form = replace(
            made.get(request.rendition_key, self.original),
            outcome=self.outcome,
            original=None,
            beside=(),
            fill=self.fill,
            is_shared=self.is_shared,
        )
        self.forms[request.rendition_key] = form
        return form
