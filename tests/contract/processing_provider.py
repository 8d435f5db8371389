"""What every provider that processes pictures promises. A test module subclasses the suite and gives it a fixture."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from copperplate.errors import ProviderFailed, Uncollected
from copperplate.imaging.pillow_images import PillowImages
from copperplate.model import Job
from copperplate.source_pictures import Operation
from tests.support.processing_harness import Brought, photograph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.model import ProviderResult
    from copperplate.ports import ProcessingProvider


class ProcessingProviderContract:
    """Only the port is used, so that any provider can be held to it."""

    @pytest.fixture
    def images(self) -> Iterator[PillowImages]:
        images = PillowImages(threads=1)
        yield images
        images.close()

    async def result_of(self, provider: ProcessingProvider, brought: Brought, model: str) -> ProviderResult:
        request = brought.request(provider, model)
        await provider.prepare(request.recipe, request.inputs)
        answer = await provider.submit(request.recipe, request.inputs)
        return await provider.collect(answer) if isinstance(answer, Job) else answer

    def pixels_of(self, result: ProviderResult) -> bytes:
        with Image.open(BytesIO(result.body)) as opened:
            return opened.convert("RGBA").tobytes()

    async def test_every_model_answers_a_picture_as_large_as_was_asked(
        self, provider: ProcessingProvider, images: PillowImages
    ) -> None:
        for model in provider.models:
            brought = Brought(photograph(75, 53))
            result = await self.result_of(provider, brought, model)
            found = await images.verify(result.body, covers=brought.request(provider, model).canvas)
            assert found.format in {"jpg", "png", "webp"}, model

    def test_every_operation_is_offered_and_no_model_does_two(self, provider: ProcessingProvider) -> None:
        assert {model.operation for model in provider.operations} == set(Operation)
        assert tuple(model.name for model in provider.operations) == provider.models
        assert len(set(provider.models)) == len(provider.models)

    def test_settings_are_sorted_and_in_the_key(self, provider: ProcessingProvider) -> None:
        for model in provider.models:
            settings = provider.settings(model)
            assert list(settings) == sorted(settings)
            assert Brought().request(provider, model).recipe["settings"] == list(settings)

    def test_price_without_an_input_is_never_below_that_with_one(self, provider: ProcessingProvider) -> None:
        for model in provider.models:
            request = Brought(photograph(1_500, 1_500)).request(provider, model)
            most = provider.price_micro_usd(request.recipe)
            price = provider.price_micro_usd(request.recipe, request.inputs)
            assert most is not None
            assert price is not None
            assert 0 <= price <= most
            assert (price > 0) is provider.is_billable

    async def test_job_of_somebody_else_has_no_picture(self, provider: ProcessingProvider) -> None:
        with pytest.raises((ProviderFailed, Uncollected)):
            await provider.collect(Job(request_id="somebody-elses"))

    async def test_provider_that_was_closed_can_be_used_again(self, provider: ProcessingProvider) -> None:
        before = await self.result_of(provider, Brought(), provider.models[0])
        await provider.close()
        await provider.close()
        after = await self.result_of(provider, Brought(), provider.models[0])
        assert self.pixels_of(after) == self.pixels_of(before)
