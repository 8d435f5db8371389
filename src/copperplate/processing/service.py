"""Processed pictures: found by the digest of their source and what was done to it, or made once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from copperplate.access.owners import asker_of
from copperplate.budgets import Charge
from copperplate.denials import TakenDown
from copperplate.errors import InvalidModel, Misconfigured, StoreUnavailable
from copperplate.generation.lookup import LookupOptions, LookupResult
from copperplate.generation.losses import FINDS, STORE_LOSES, find_kept_object, is_lost
from copperplate.ledger_answers import Gone, Hit
from copperplate.model import Outcome
from copperplate.processing_models import MAX_RESULT_PIXELS, scaled
from copperplate.recipes.processed import parameters_of, processed_recipe, processed_request, with_source
from copperplate.source_errors import PictureTooLarge
from copperplate.source_pictures import Operation
from copperplate.work.promises import new_wish

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.access.caller import Caller
    from copperplate.access.gate import Gate
    from copperplate.errors import CopperplateError
    from copperplate.generation.coordinator import Coordinator
    from copperplate.generation.lookup import Permit
    from copperplate.model import Entry, PictureRequest
    from copperplate.ports import Clock, Ledger
    from copperplate.processing.sources import Source, Sources
    from copperplate.processing_models import ProcessingModel
    from copperplate.serving.request_meter import RequestMeter
    from copperplate.work.promises import Promised, Promises

_NOBODY: Final = "Nobody processes pictures here: set FAL_KEY, or COPPERPLATE_PROVIDER=painter."


class Processing:
    """Finds results, and has them made. A process has one; `models` are those of its provider, none where nobody is.

    `prices` is what an operation costs a signed-in user in credits, where the owner sets a price.
    """

    def __init__(  # noqa: PLR0913 - each part once
        self,
        *,
        models: Sequence[ProcessingModel],
        sources: Sources,
        coordinator: Coordinator,
        promises: Promises,
        ledger: Ledger,
        gate: Gate,
        request_meter: RequestMeter,
        clock: Clock,
        prices: Mapping[Operation, int],
    ) -> None:
        self.models = tuple(models)
        self.sources = sources
        self._coordinator = coordinator
        self._promises = promises
        self._ledger = ledger
        self._gate = gate
        self._meter = request_meter
        self._clock = clock
        self.prices = prices

    def model_for(self, operation: Operation, name: str | None = None) -> ProcessingModel:
        """The model of that name, or the first that does the operation.

        Raises `InvalidModel`, and `Misconfigured` where nobody processes pictures here.
        """
        offered = [model for model in self.models if model.operation is operation]
        if not offered:
            raise Misconfigured(_NOBODY)
        if name is None:
            return offered[0]
        for model in offered:
            if model.name == name:
                return model
        names = ", ".join(model.name for model in offered)
        raise InvalidModel(f"This model does not do this operation here. Offered: {names}.")

    def request_for(self, source: Source, model: ProcessingModel, parameters: Mapping[str, str]) -> PictureRequest:
        """What is asked for. Raises `InvalidParameter`, `PictureTooLarge` for a result that would be."""
        request = with_source(
            processed_request(processed_recipe(source.picture.digest, model, parameters)), source.input
        )
        size = scaled(source.picture.size, parameters_of(request.recipe))
        if size.width * size.height > MAX_RESULT_PIXELS:
            most = f"{MAX_RESULT_PIXELS:,}"
            raise PictureTooLarge(
                f"The result would be {size}. It may have at most {most} px: ask for a smaller scale."
            )
        return request

    def may_spend(self, caller: Caller) -> bool:
        """Whether this caller may have results made at all, whatever budgets say: else nothing of theirs is decoded."""
        return bool(self.models) and self._denial_of(caller) is None

    def require_may_spend(self, caller: Caller) -> None:
        """Raises why this caller may not have results made, and `Misconfigured` where nobody makes any."""
        if not self.models:
            raise Misconfigured(_NOBODY)
        if (denial := self._denial_of(caller)) is not None:
            raise denial

    def _denial_of(self, caller: Caller) -> CopperplateError | None:
        nothing = processed_request(processed_recipe("0" * 64, self.models[0], {}))
        return self._gate.permit(caller, nothing).denial

    def credits_for(self, operation: Operation, caller: Caller) -> int:
        """What an operation costs this caller in credits; 0 where budgets pay."""
        return 0 if caller.key is not None or caller.user is None else self.prices.get(operation, 0)

    async def find(
        self, request: PictureRequest, source: Source, caller: Caller, *, within_seconds: float | None
    ) -> LookupResult | Promised:
        """The result if it is stored or made `within_seconds`, else the promise that it will be: see `Promises.start`.

        A caller with a name who is answered has had the source's bytes from now on.
        """
        permit, charge = self._permit_of(request, caller)
        options = LookupOptions(permit=permit, charge=charge)
        wish = new_wish(request, options, owner=asker_of(caller))
        started = self._clock.monotonic()
        outcome: Outcome | None = Outcome.FAILED
        try:
            found = await self._promises.start(
                request,
                options,
                wish,
                find=partial(self._find_stored, request),
                before_promise=source.keep,
                within_seconds=within_seconds,
            )
            outcome = found.outcome if isinstance(found, LookupResult) else None
        finally:
            if outcome is not None:
                seconds = self._clock.monotonic() - started
                self._meter.count(request, outcome, size_bytes=0, seconds=seconds)
        if source.says_something_new:
            await source.note()
        return found

    async def wait_for(self, request: PictureRequest, caller: Caller) -> LookupResult:
        """The result, waited for as long as it takes: for a tool that stays. Nothing is promised.

        The request names its input. Raises what `Coordinator.find` raises.
        """
        permit, charge = self._permit_of(request, caller)
        options = LookupOptions(permit=permit, charge=charge, is_patient=True)
        started = self._clock.monotonic()
        outcome = Outcome.FAILED
        try:
            found = await self._find_stored(request, options)
            outcome = found.outcome
        finally:
            self._meter.count(request, outcome, size_bytes=0, seconds=self._clock.monotonic() - started)
        return found

    async def look(self, request: PictureRequest) -> Entry | None:
        """The stored result, verified against the store; None where there is none. Raises `TakenDown`."""
        for _ in range(FINDS):
            match await self._ledger.peek(request.generation_key, request.rendition_key):
                case Hit(entry=entry):
                    if not await self._is_lost(entry):
                        return entry
                case Gone():
                    raise TakenDown
                case _:
                    return None
        raise StoreUnavailable(STORE_LOSES)

    def _permit_of(self, request: PictureRequest, caller: Caller) -> tuple[Permit, Charge | None]:
        price = self.credits_for(Operation(str(request.recipe["operation"])), caller)
        if price == 0 or caller.user is None:
            return self._gate.permit(caller, request), None
        return self._gate.permit_with_credits(caller, request), Charge(user=caller.user.id, credits=price)

    async def _find_stored(self, request: PictureRequest, options: LookupOptions) -> LookupResult:
        """Find the picture, and verify a hit against the store; one that was just made is not checked."""
        return await find_kept_object(lambda: self._coordinator.find(request, options), self._is_lost)

    async def _is_lost(self, entry: Entry) -> bool:
        return await is_lost(entry, store=self.sources.store, ledger=self._ledger)
