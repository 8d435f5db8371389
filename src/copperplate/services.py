"""What the edges (HTTP, the command line) work with, opened and closed together by `compose.open_services`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from copperplate.errors import Misconfigured
from copperplate.generation.kinds import offers
from copperplate.model import Outcome
from copperplate.ports import (
    ApiKeys,
    Budgets,
    CdnOutbox,
    CreditLedger,
    Feed,
    KeptPictures,
    Ledger,
    SourcePictures,
    Statistics,
    TierReports,
    Wishes,
)
from copperplate.ports.maintenance import TierMaintenance
from copperplate.recipes.kinds import KINDS
from copperplate.settings import PROVIDER_KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.access.api_keys import KeyRing
    from copperplate.access.gate import Gate
    from copperplate.accounts.user_requests import UserRequests
    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.kinds import Kind
    from copperplate.model import CanonicalValue, InputPicture, PictureRequest
    from copperplate.ports import Clock, Images, ObjectStore, Provider, Verifier
    from copperplate.processing.service import Processing
    from copperplate.serving.drawn_placeholders import DrawnPlaceholders
    from copperplate.serving.event_tokens import EventTokens
    from copperplate.serving.renditions import Renditions
    from copperplate.serving.request_meter import RequestMeter
    from copperplate.serving.watches import Watches
    from copperplate.settings import Settings
    from copperplate.single_flight import Call
    from copperplate.tiers.tiers import Tiers
    from copperplate.work.promises import Promises
    from copperplate.work.step import WorkStep


class WholeLedger(
    Ledger,
    Statistics,
    TierMaintenance,
    CreditLedger,
    ApiKeys,
    Budgets,
    KeptPictures,
    SourcePictures,
    Wishes,
    Feed,
    CdnOutbox,
    TierReports,
    Protocol,
):
    """Every port of the ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One process's wiring: `kinds` by name, `stores` by bucket."""

    settings: Settings
    clock: Clock
    ledger: WholeLedger
    coordinator: Coordinator
    kinds: Mapping[str, Kind]
    stores: Mapping[str, ObjectStore]
    images: Images
    renditions: Renditions
    tiers: Tiers
    placeholders: DrawnPlaceholders
    promises: Promises
    work: WorkStep
    watches: Watches
    event_tokens: EventTokens
    user_requests: UserRequests
    processing: Processing
    request_meter: RequestMeter
    verifier: Verifier
    key_ring: KeyRing
    gate: Gate

    def provider_of(self, kind: str) -> Provider:
        """Who makes pictures of this kind; raises `Misconfigured` where nobody does. Other kinds do not need it."""
        made = self.kinds.get(kind)
        return require_provider(kind, None if made is None else made.provider)

    def offers(self, kind: str, model: str) -> bool:
        """Whether somebody here makes pictures of this kind by this model."""
        return offers(self.kinds, kind, model)

    def price_of(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> int | None:
        """What a picture costs by the price table, in millionths of a dollar; None where no price is known."""
        return self.provider_of(str(recipe["kind"])).price_micro_usd(recipe, inputs)

    def cost_of(self, request: PictureRequest, outcome: Outcome | None) -> int | None:
        """What a request that ended so cost at the provider: the price of what was generated for it, else nothing."""
        return self.price_of(request.recipe, request.inputs) if outcome is Outcome.GENERATED else 0

    def savings_of(self, request: PictureRequest, outcome: Outcome | None) -> int | None:
        """What a request that ended so did not cost: the price of a picture that was there, or made for another."""
        is_saved = outcome in (Outcome.HIT, Outcome.STALE, Outcome.COALESCED)
        return self.price_of(request.recipe, request.inputs) if is_saved else 0

    async def finish(self, call: Call, *, within_seconds: float) -> None:
        """A call ends, the process goes on: wait for what this call left behind, hand over what is late, flush.

        What the ledger says at the flush of due work, `work.is_due` says afterwards.
        """
        stop_at = self.clock.monotonic() + within_seconds
        for part in (self.coordinator, self.promises, self.work, self.renditions, self.tiers):
            await part.finish(call, within_seconds=max(0.0, stop_at - self.clock.monotonic()))
        await self.request_meter.flush()

    async def shut_down(self, *, within_seconds: float) -> None:
        """The process ends: send followers away, let work land for a while, give up leases and wishes, and flush."""
        self.watches.close()
        stop_at = self.clock.monotonic() + within_seconds
        self.work.stop()
        for part in (self.coordinator, self.promises, self.work, self.renditions, self.tiers):
            await part.shut_down(within_seconds=max(0.0, stop_at - self.clock.monotonic()))
        await self.request_meter.flush()


def require_provider(kind: str, provider: Provider | None) -> Provider:
    """The provider there is; raises `Misconfigured`, naming the variable to set, where nobody makes this kind."""
    if provider is None:
        spec = KINDS[kind]
        key = PROVIDER_KEYS[spec.provider]
        message = f"Nobody makes {spec.plural}: set {key}, or name a provider in COPPERPLATE_PROVIDER."
        raise Misconfigured(message)
    return provider
