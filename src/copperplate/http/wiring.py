"""What the HTTP layer works with, and what it says while there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from copperplate.errors import CopperplateError, Misconfigured
from copperplate.http.picture_urls import PictureUrls
from copperplate.ports import CreditLedger, Maintenance, Statistics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.accounts.user_requests import UserRequests
    from copperplate.generation.kinds import Kind
    from copperplate.ports import Clock, ObjectStore, Provider, Verifier
    from copperplate.serving.renditions import Serving
    from copperplate.serving.request_meter import RequestMeter
    from copperplate.settings import Settings


class Ledgers(Statistics, Maintenance, CreditLedger, Protocol):
    """What the routes ask of the ledger."""


class Services(Protocol):
    """The part of `compose.Services` that is used here; tests bring their own."""

    @property
    def settings(self) -> Settings:
        """What was set."""

    @property
    def clock(self) -> Clock:
        """Time."""

    @property
    def ledger(self) -> Ledgers:
        """Statistics, care and credits."""

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """Kinds of picture, by name."""

    @property
    def stores(self) -> Mapping[str, ObjectStore]:
        """Where objects lie, by bucket."""

    @property
    def user_requests(self) -> UserRequests:
        """Pictures for signed-in people."""

    @property
    def verifier(self) -> Verifier:
        """Tells who a token is from."""

    @property
    def memoji_provider(self) -> Provider:
        """Who makes memoji; raises `Misconfigured` where nobody does."""

    @property
    def serving(self) -> Serving:
        """Pictures in the form they were asked for."""

    @property
    def usage(self) -> RequestMeter:
        """Counts."""

    @property
    def image_provider(self) -> Provider:
        """Who makes pictures asked for by URL."""

    async def drain(self, *, within_seconds: float) -> None:
        """Let generations under way land for a while, hand the late ones over, and flush what was counted."""


class Wiring:
    """Services once they are open; until then the fault that every request but `/healthz` is told."""

    __slots__ = ("fault", "picture_requests", "services")

    def __init__(self, services: Services | None = None) -> None:
        self.services: Services | None = None
        self.picture_requests: PictureUrls | None = None
        self.fault: CopperplateError = Misconfigured("The server did not start the application (ASGI lifespan).")
        if services is not None:
            self.open(services)

    def open(self, services: Services) -> None:
        """From now on requests are answered with these services."""
        self.picture_requests = PictureUrls(services.image_provider)
        self.services = services

    def close(self, fault: CopperplateError) -> None:
        """From now on requests are answered with `fault`."""
        self.fault = fault
        self.services = self.picture_requests = None

    def require(self) -> Services:
        """The services; raises the fault while there are none."""
        if self.services is None:
            raise self.fault
        return self.services
