"""The gate: who may cause a miss, and which budgets it is booked to. No other module makes a `Permit`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from copperplate.access import shares
from copperplate.access.signatures import SigningKeys, Verdict, verify
from copperplate.api_keys import Scope
from copperplate.budgets import ANONYMOUS, OWNER, Budget, Spending
from copperplate.denials import AccessDenied, InvalidSignature, MissingScope, SignatureExpired
from copperplate.generation.lookup import Permit
from copperplate.prices import dearest_micro_usd
from copperplate.recipes.kinds import provider_input_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.access.caller import Caller
    from copperplate.errors import CopperplateError
    from copperplate.generation.kinds import Kind
    from copperplate.model import PictureRequest
    from copperplate.ports import Clock
    from copperplate.recipes.url import UrlSignature
    from copperplate.settings import Settings
    from copperplate.wishes import Wish

_USER: Final = "user:"
_FREE_ONCE: Final = "This picture was asked for while pictures cost nothing here. Ask for it again."
_DENIED: Final[Mapping[str, str]] = {
    "signed": "This picture has to be made. Here that needs a signed URL, an API key or a sign-in.",
    "keys": "This picture has to be made. Here that needs an API key or a sign-in.",
}


class Gate:
    """Decides for every route that can cause a provider's call."""

    def __init__(self, *, settings: Settings, kinds: Mapping[str, Kind], clock: Clock) -> None:
        self._settings = settings
        self._kinds = kinds
        self._clock = clock
        self._signing_keys = SigningKeys.of(settings.url_signing_keys)
        self._wall = shares.wall(settings)
        self._anonymous = shares.anonymous(settings)

    def permit(self, caller: Caller, request: PictureRequest, signature: UrlSignature | None = None) -> Permit:
        """What a caller may cause for this picture, and whose budgets it is booked to.

        A key counts before a sign-in, and both before the `signature` of the address. A signature that is not valid
        is never a stranger's request: it is refused at a miss, in every mode.
        """
        if signature is not None and caller.is_unknown:
            return self._permit_of_link(signature, request)
        payer, own = self._own_of(caller)
        return Permit(spending=self._spending(payer, own, request), denial=self._denial_of(caller))

    def permit_with_credits(self, caller: Caller, request: PictureRequest) -> Permit:
        """The same for a user whose credits pay: beside them the wall bounds the spending.

        Strangers who signed in without a name share one budget all the same, however many credits they were given.
        """
        payer, own = self._own_of(caller)
        own = tuple(budget for budget in own if budget.name != payer)
        return Permit(spending=self._spending(payer, own, request))

    def _permit_of_link(self, signature: UrlSignature, request: PictureRequest) -> Permit:
        judged = verify(signature, request.generation_key, keys=self._signing_keys, now=self._clock.now())
        payer, own = _one(f"link:{judged.key_id}")
        return Permit(spending=self._spending(payer, own, request), denial=self._denial_of_link(judged.verdict))

    def permit_of_owner(self, request: PictureRequest) -> Permit:
        """For the owner's own tools: the wall holds for them too."""
        return Permit(spending=self._spending(OWNER, (), request))

    def permit_of_wish(self, wish: Wish, request: PictureRequest) -> Permit:
        """For a wish that is taken: booked to the budgets that it names, at the prices and caps of today.

        One that was made while pictures cost nothing names none: where they cost something now, it is refused.
        """
        if wish.spending is None:
            is_free = self._spending(wish.owner, (), request) is None
            return Permit() if is_free else Permit(denial=AccessDenied(_FREE_ONCE))
        own = tuple(self._own_today(budget) for budget in wish.spending.budgets if budget.is_own)
        spending = self._spending(wish.spending.payer, own, request)
        if spending is not None and own and own[0].name == ANONYMOUS:
            # The bound is of one caller, and this budget is of all whom nobody knows.
            spending = replace(spending, max_in_flight=None)
        return Permit(spending=spending)

    def permit_to_import(self) -> Permit:
        """For the owner, to keep a picture that exists already: nothing is submitted, so nothing is spent."""
        return Permit()

    def budgets_of(self, caller: Caller) -> tuple[Budget, ...]:
        """The budgets that are this caller's own, and the wall."""
        return (*self._own_of(caller)[1], self._wall)

    def _spending(self, payer: str, own: tuple[Budget, ...], request: PictureRequest) -> Spending | None:
        provider = self._kinds[request.kind].provider
        if not provider.is_billable:
            return None
        amount = provider.price_micro_usd(request.recipe, request.inputs)
        if amount is None:
            asked = provider_input_of(request.recipe)
            amount = dearest_micro_usd(provider.name, provider.canvas(asked.size), asked.prompt)
        model, house = f"model:{provider.name}/{request.model}", f"provider:{provider.name}"
        return Spending(
            payer=payer,
            amount_micro_usd=amount,
            budgets=(*own, Budget(name=model), Budget(name=house), self._wall),
            max_in_flight=self._settings.caller_in_flight,
        )

    def _own_of(self, caller: Caller) -> tuple[str, tuple[Budget, ...]]:
        """Who pays, and the caller's own budgets, the narrowest first."""
        if caller.is_owner:
            return OWNER, ()
        if caller.key is not None:
            return _one(f"key:{caller.key.id}")
        address = shares.of_address(caller.address)
        if caller.user is None:
            return address.name, (address, self._anonymous)
        user = shares.of_user(self._settings, caller.user.id)
        return user.name, (user, address, self._anonymous) if caller.user.is_anonymous else (user,)

    def _own_today(self, budget: Budget) -> Budget:
        """A caller's own budget by its name, as the settings make it now."""
        if budget.name == ANONYMOUS:
            return self._anonymous
        if budget.name.startswith(_USER):
            return shares.of_user(self._settings, budget.name.removeprefix(_USER))
        return Budget(name=budget.name, is_own=True)

    def _denial_of_link(self, verdict: Verdict) -> CopperplateError | None:
        match verdict:
            case Verdict.VALID:
                return None if self._settings.access != "keys" else AccessDenied(_DENIED["keys"])
            case Verdict.EXPIRED:
                return SignatureExpired("The time for which this address was signed is over. Ask for a new one.")
            case Verdict.FORGED:
                return InvalidSignature("This address was not signed here, or was changed since. Ask for a new one.")

    def _denial_of(self, caller: Caller) -> CopperplateError | None:
        if caller.key is not None:
            is_allowed = Scope.GENERATE in caller.key.scopes
            return None if is_allowed else MissingScope("This API key has no scope `generate`.")
        if caller.is_owner or caller.user is not None or self._settings.access == "open":
            return None
        return AccessDenied(_DENIED[self._settings.access])


def _one(name: str) -> tuple[str, tuple[Budget, ...]]:
    return name, (Budget(name=name, is_own=True),)
