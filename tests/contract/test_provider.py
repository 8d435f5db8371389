"""The painter, fal and OpenAI held to the provider's contract; fal and OpenAI are the stand-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from copperplate.adapters.painter import Painter
from copperplate.adapters.painter.processing import PainterProcessing
from copperplate.adapters.system_clock import SystemClock
from tests.contract.processing_provider import ProcessingProviderContract
from tests.contract.provider import ProviderContract
from tests.support.processing_harness import processing_at
from tests.support.provider_harness import fal_at, openai_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.ports import ProcessingProvider, Provider
    from tests.standin.server import Standin


class TestPainter(ProviderContract):
    @pytest.fixture
    def provider(self) -> Provider:
        return Painter(SystemClock())


class TestFal(ProviderContract):
    @pytest.fixture
    async def provider(self, standin: Standin) -> AsyncIterator[Provider]:
        fal = fal_at(standin.url)
        yield fal
        await fal.close()


class TestOpenAI(ProviderContract):
    @pytest.fixture
    async def provider(self, standin: Standin) -> AsyncIterator[Provider]:
        openai = openai_at(standin.openai_url)
        yield openai
        await openai.close()


class TestPainterProcessing(ProcessingProviderContract):
    @pytest.fixture
    async def provider(self) -> AsyncIterator[ProcessingProvider]:
        painter = PainterProcessing(SystemClock())
        yield painter
        await painter.close()


class TestFalProcessing(ProcessingProviderContract):
    @pytest.fixture
    async def provider(self, standin: Standin) -> AsyncIterator[ProcessingProvider]:
        fal = processing_at(standin.url)
        yield fal
        await fal.close()
