"""What every provider promises. A test module subclasses the suite and gives it a `provider` fixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from copperplate.errors import ProviderFailed, Uncollected
from copperplate.imaging.pillow_images import PillowImages
from copperplate.model import Job, Size
from copperplate.recipes.image import MAX_SIDE_PX, MIN_SIDE_PX
from tests.support.provider_harness import recipe_of, request_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.ports import Provider

SIDES = (MIN_SIDE_PX, 65, 100, 333, 512, 777, 1_000, 1_024, 1_280, 1_920, 2_047, MAX_SIDE_PX)
SIZES = [Size(width=width, height=height) for width in SIDES for height in SIDES]


class ProviderContract:
    """Only the port is used, so that any provider can be held to it."""

    @pytest.fixture
    def images(self) -> Iterator[PillowImages]:
        images = PillowImages()
        yield images
        images.close()

    async def test_picture_covers_what_was_asked(self, provider: Provider, images: PillowImages) -> None:
        asked = Size(width=200, height=100)
        answer = await provider.submit(recipe_of(provider, "a red fox", width=200, height=100))
        made = await provider.collect(answer) if isinstance(answer, Job) else answer
        found = await images.verify(made.body, covers=asked)
        assert found.format in {"jpg", "png", "webp"}
        assert found.size == provider.canvas(asked)

    def test_canvas_covers_every_size_that_is_offered(self, provider: Provider) -> None:
        for size in SIZES:
            canvas = provider.canvas(size)
            assert canvas.covers(size), size
            assert canvas.width * canvas.height <= 4096 * 4096, size

    def test_settings_are_sorted_and_fit_a_key(self, provider: Provider) -> None:
        for model in provider.models:
            settings = provider.settings(model)
            assert list(settings) == sorted(settings)
            assert request_of(provider, "a red fox").recipe["settings"] == list(settings)

    def test_price_is_whole_millionths_or_unknown(self, provider: Provider) -> None:
        price = provider.price_micro_usd(recipe_of(provider, "a red fox", width=1024, height=1024))
        assert price is None or (isinstance(price, int) and (price > 0) is provider.is_billable)

    async def test_job_of_somebody_else_has_no_picture(self, provider: Provider) -> None:
        """It failed, or it is left noted: a job of another queue may be had once the setting names that queue."""
        with pytest.raises((ProviderFailed, Uncollected)):
            await provider.collect(Job(request_id="somebody-elses"))

    async def test_provider_that_was_closed_can_be_used_again(self, provider: Provider) -> None:
        await provider.submit(recipe_of(provider, "one"))
        await provider.close()
        await provider.close()
        await provider.submit(recipe_of(provider, "two"))
