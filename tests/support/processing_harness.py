"""Pictures that are brought to fal's stand-in, and requests for what is made of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from copperplate.adapters.fal.processing import FalProcessing
from copperplate.adapters.system_clock import SystemClock
from copperplate.errors import ProviderFailed
from copperplate.model import CleanPicture, InputPicture, PictureFormat, Size
from copperplate.recipes.processed import processed_recipe, processed_request
from tests.support.provider_harness import KEY

if TYPE_CHECKING:
    from copperplate.model import PictureRequest
    from copperplate.ports import ProcessingProvider
    from tests.standin.server import Standin


def processing_at(url: str, **options: Any) -> FalProcessing:
    """The adapter against a stand-in, asking often, and insisting for a moment only."""
    usual: dict[str, Any] = {"key": KEY, "clock": SystemClock(), "queue_url": url, "rest_url": url, "seconds": 20}
    return FalProcessing(**{**usual, "poll_first_seconds": 0.01, "retry_seconds": 0.3, **options})


def photograph(width: int = 64, height: int = 48, *, tint: int = 0) -> bytes:
    """A PNG with something to see in it; each tint is another picture."""
    ramp = Image.linear_gradient("L").resize((width, height))
    picture = Image.merge("RGB", (ramp, Image.new("L", (width, height), tint), ramp.rotate(180)))
    target = BytesIO()
    picture.save(target, "PNG")
    return target.getvalue()


@dataclass
class Brought:
    """A picture that somebody brings, and how often the provider asked for it."""

    body: bytes = field(default_factory=photograph)
    at: str | None = None
    read: int = 0
    located: int = 0
    failure: Exception | None = None

    @property
    def input(self) -> InputPicture:
        """As a provider is given it."""
        with Image.open(BytesIO(self.body)) as opened:
            size = Size(width=opened.width, height=opened.height)
        clean = CleanPicture(body=self.body, format=PictureFormat.PNG, size=size, source_format="png")

        async def read() -> CleanPicture:
            self.read += 1
            if self.failure is not None:
                raise self.failure
            return clean

        async def address() -> str | None:
            self.located += 1
            return self.at

        return InputPicture(digest=hashlib.sha256(self.body).hexdigest(), size=size, read=read, address=address)

    def request(self, provider: ProcessingProvider, model: str, **given: str) -> PictureRequest:
        """What `model` shall make of it."""
        (described,) = (each for each in provider.operations if each.name == model)
        source = self.input
        return processed_request(processed_recipe(source.digest, described, given), source)


async def made(fal: FalProcessing, brought: Brought, model: str, **given: str) -> Image.Image:
    """What comes back, opened."""
    request = brought.request(fal, model, **given)
    job = await fal.submit(request.recipe, request.inputs)
    return Image.open(BytesIO((await fal.collect(job)).body))


async def failure_of(fal: FalProcessing, brought: Brought, model: str) -> ProviderFailed:
    """Why nothing comes back."""
    with pytest.raises(ProviderFailed) as failed:
        await made(fal, brought, model)
    return failed.value


def submits(standin: Standin) -> int:
    """How often fal was asked for a picture."""
    return sum(count for name, count in standin.scenario_log.posts.items() if name.startswith("fal-ai/"))
