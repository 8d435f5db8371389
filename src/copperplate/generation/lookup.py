"""What a look-up may do, and what it answers, from the leader's picture to the bytes that are served."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from copperplate.model import Outcome

if TYPE_CHECKING:
    from copperplate.model import Charge, Entry, PictureRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupOptions:
    """What may be done for a caller whose picture is not there: whether to generate it, and what pays for that."""

    may_lead: bool = True
    charge: Charge | None = None


GENERATE: Final = LookupOptions()
LOOK_ONLY: Final = LookupOptions(may_lead=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupResult:
    """An entry, how it came about, and its bytes where they are at hand.

    A rendition that was made together with its original has that `original` beside it, for those who joined the
    flight and asked for another form.
    """

    entry: Entry
    outcome: Outcome
    body: bytes | None = field(default=None, repr=False)
    original: LookupResult | None = None

    def coalesced(self) -> LookupResult:
        """The same for a caller who joined the flight: the picture was generated for another."""
        return replace(self, outcome=Outcome.COALESCED) if self.outcome is Outcome.GENERATED else self

    def form_for(self, request: PictureRequest) -> LookupResult | None:
        """The rendition asked for, or the original it can be made from; None where this is another rendition."""
        is_asked = self.entry.key == request.rendition_key
        if self.original is None:
            return self if is_asked or self.entry.is_original else None
        # Without the original's bytes, which would stay in memory until the last answer is sent.
        return replace(self, original=None) if is_asked else replace(self.original, outcome=self.outcome)
