"""The services that HTTP works with, or the fault that it answers while there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from copperplate.errors import CopperplateError, Misconfigured
from copperplate.http.picture_urls import PictureUrls
from copperplate.processing.upload_offers import UploadOffers
from copperplate.recipes.kinds import IMAGE

if TYPE_CHECKING:
    from copperplate.services import Services


class Wiring:
    """The open services; until then the fault that answers every request but `/healthz`."""

    __slots__ = ("fault", "picture_urls", "services", "upload_offers")

    def __init__(self, services: Services | None = None) -> None:
        self.services: Services | None = None
        self.picture_urls: PictureUrls | None = None
        self.upload_offers: UploadOffers | None = None
        self.fault: CopperplateError = Misconfigured("The server did not start the application (ASGI lifespan).")
        if services is not None:
            self.open(services)

    def open(self, services: Services) -> None:
        """From now on requests are answered with these services."""
        self.picture_urls = PictureUrls(services.provider_of(IMAGE.name))
        self.upload_offers = UploadOffers(services.clock)
        self.services = services

    def close(self, fault: CopperplateError) -> None:
        """From now on requests are answered with `fault`."""
        self.fault = fault
        self.services = self.picture_urls = None

    def require(self) -> Services:
        """The services; raises the fault while there are none."""
        if self.services is None:
            raise self.fault
        return self.services
