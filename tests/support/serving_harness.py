"""One process that serves, over memory: what it reads, stores, opens and encodes is counted."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from copperplate.errors import ObjectMissing
from copperplate.ledger_answers import Hit
from copperplate.model import PictureFormat
from copperplate.serving.renditions import Renditions
from tests.support.coordinator_harness import BUCKET, CoordinatorHarness, FlakyStore, PlainImages
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from copperplate.generation.coordinator import Coordinator
    from copperplate.model import Entry, PictureRequest, Rendition
    from copperplate.ports import OpenPicture
    from copperplate.tiers.tiers import Tiers


class CountingStore(FlakyStore):
    """Counts puts and gets by file ending. `gate` keeps readers waiting, `put_gate` writers; `loses` forgets it all."""

    def __init__(self, bucket: str) -> None:
        super().__init__(bucket)
        self.puts: Counter[str] = Counter()
        self.gets: Counter[str] = Counter()
        self.gate: asyncio.Event | None = None
        self.put_gate: asyncio.Event | None = None
        self.loses = False

    async def put(self, path: str, body: bytes, *, media_type: str) -> None:
        if self.put_gate is not None:
            await self.put_gate.wait()
        await super().put(path, body, media_type=media_type)
        self.puts[path.rpartition(".")[2]] += 1

    async def get(self, path: str) -> bytes:
        self.gets[path.rpartition(".")[2]] += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.loses:
            raise ObjectMissing
        return await super().get(path)

    def alter(self, entry: Entry, body: bytes = b"something else") -> None:
        assert entry.path in self._objects
        self._objects[entry.path] = body


class CountingImages(PlainImages):
    """Counts what is opened, is open and is encoded; `gate` keeps encoders waiting."""

    encodings = 0
    opened = 0
    is_open = 0
    gate: asyncio.Event | None = None

    @contextlib.asynccontextmanager
    async def open(self, original: bytes, *, model: str | None, is_urgent: bool = True) -> AsyncIterator[OpenPicture]:
        self.opened += 1
        self.is_open += 1
        try:
            async with super().open(original, model=model, is_urgent=is_urgent) as picture:
                yield picture
        finally:
            self.is_open -= 1

    async def encode(self, original: bytes, rendition: Rendition) -> bytes:
        self.encodings += 1
        await (asyncio.sleep(0) if self.gate is None else self.gate.wait())
        return await super().encode(original, rendition)


class ServingHarness(CoordinatorHarness):
    """A coordinator harness with one process that serves."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = ()  # each rendition is made when it is asked for
        self.objects = self.store = CountingStore(BUCKET)
        self.artist = self.images = CountingImages()
        self.kinds["image"] = type(self.kinds["image"])(provider=self.provider, store=self.objects)
        self.serving = self.server(self.process())

    def server(self, process: Coordinator, tiers: Tiers | None = None) -> Renditions:
        return Renditions(
            coordinator=process,
            ledger=self.ledger,
            kinds=self.kinds,
            images=self.images,
            clock=self.clock,
            tiers=tiers,
        )

    async def original(self, asked: PictureRequest) -> Entry:
        """The entry of the kept original."""
        png = picture_request(picture_format=PictureFormat.PNG)
        assert png.generation_key == asked.generation_key
        result = await self.ledger.peek(png.generation_key, png.rendition_key)
        assert isinstance(result, Hit)
        assert result.entry.is_original
        return result.entry
