"""Processing over memory: a provider and a cleaner that count, and pictures that are a few bytes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from copperplate.adapters.memory.clock import FakeClock
from copperplate.model import CleanPicture, PictureFormat, ProviderResult, Size
from copperplate.processing_models import SCALE, ChoiceParameter, NumberParameter, ProcessingModel
from copperplate.source_errors import InvalidPicture
from copperplate.source_pictures import Operation
from tests.support.coordinator_harness import ScriptedProvider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.model import CanonicalValue, InputPicture, Job

CUT_OUT = ProcessingModel(
    name="test/cut-out",
    operation=Operation.REMOVE_BACKGROUND,
    parameters=(ChoiceParameter(name="edge", default="soft", choices=("soft", "hard")),),
)
UPSCALE = ProcessingModel(
    name="test/upscale",
    operation=Operation.UPSCALE,
    parameters=(NumberParameter(name=SCALE, default=Decimal(2), least=Decimal(1), most=Decimal(4), decimals=1),),
)
OTHER_UPSCALE = ProcessingModel(name="test/upscale-2", operation=Operation.UPSCALE)
FACES = ProcessingModel(name="test/faces", operation=Operation.FACE_DETAIL)
MODELS = (CUT_OUT, UPSCALE, OTHER_UPSCALE, FACES)


@dataclass
class ScriptedProcessor(ScriptedProvider):
    """A `ScriptedProvider` that processes pictures."""

    clock: FakeClock = field(default_factory=FakeClock)  # it answers at once
    name: str = "scripted-processor"
    models: tuple[str, ...] = tuple(model.name for model in MODELS)
    operations: Sequence[ProcessingModel] = MODELS
    # What the next results are, in place of a few bytes.
    bodies: list[bytes] = field(default_factory=list)

    async def submit(
        self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()
    ) -> Job | ProviderResult:
        await inputs[0].read()
        made = await super().submit(recipe, inputs)
        return ProviderResult(body=self.bodies.pop(0)) if self.bodies else made


@dataclass
class GatedProcessor(ScriptedProcessor):
    """Makes nothing of `gated` operations until the gate is opened; `began` is set by the first submit of one."""

    gated: frozenset[str] = frozenset(Operation)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def submit(
        self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()
    ) -> Job | ProviderResult:
        if recipe["operation"] in self.gated:
            self.began.set()
            await self.gate.wait()
        return await super().submit(recipe, inputs)


@dataclass
class CountingCleaner:
    """Takes any bytes but `rubbish` for a PNG of `side_px` a side, and counts what it decodes."""

    cleaned: list[bytes] = field(default_factory=list)
    side_px: int = 64

    async def clean(self, body: bytes) -> CleanPicture:
        self.cleaned.append(body)
        if body.startswith(b"rubbish"):
            raise InvalidPicture("These bytes are no picture.")
        return CleanPicture(
            body=b"clean " + body,
            format=PictureFormat.PNG,
            size=Size(width=self.side_px, height=self.side_px),
            source_format="png",
        )
