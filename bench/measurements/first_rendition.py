"""What the first request for a sized rendition costs beyond decoding and encoding."""

from __future__ import annotations

import asyncio
import http.client
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bench.harness.databases import cluster, request_of
from bench.harness.figures import Figure, median_figure, ratios
from bench.harness.processes import serve
from copperplate.adapters.filesystem import FolderStore
from copperplate.adapters.ledger.postgres import PostgresLedger
from copperplate.adapters.painter import Painter
from copperplate.adapters.system_clock import SystemClock
from copperplate.generation.coordinator import Coordinator
from copperplate.generation.kinds import Kind
from copperplate.imaging.pillow_images import PillowImages
from copperplate.ledger_answers import Hit
from copperplate.model import PictureFormat, Rendition, Size
from copperplate.recipes.objects import original_key
from copperplate.serving.renditions import Renditions
from copperplate.testing import GENERATE

if TYPE_CHECKING:
    from bench.harness.figures import Run
    from copperplate.local.cluster import Cluster

BUCKET, CANVAS = "generated-images", Size(width=1024, height=1024)
WIDTH, WIDTH_OVER_HTTP = 640, 750
MOST_RATIO: Final = 1.10
HOW: Final = (
    f"Kept painted originals of {CANVAS} (png, about 1 MB); a form {WIDTH} px wide ({WIDTH_OVER_HTTP} over HTTP) that "
    "nobody asked for before, against "
    "`Images.open` and `encode` of the same bytes in memory, in turns, both beside what is urgent; one at a time. "
    "In process: coordinator, Postgres and a folder, from the question to the bytes. Over HTTP: one server process, "
    "one connection."
)


def measure(run: Run) -> list[Figure]:
    """The first sized rendition to decoding and encoding alone, by format, in process and over HTTP."""
    return asyncio.run(_Measurement(run, pictures=run.pick(40, 3)).figures())


class _Measurement:
    def __init__(self, run: Run, *, pictures: int) -> None:
        self._run = run
        self._clock = SystemClock()
        self._images = PillowImages()
        self._texts = [f"a red fox {number}" for number in range(pictures)]
        self._originals: dict[str, bytes] = {}

    async def figures(self) -> list[Figure]:
        with cluster(self._run) as started:
            ledger = PostgresLedger(started.owner_url)
            await ledger.open()
            store = FolderStore(self._run.folder / "objects", BUCKET)
            kinds = {"image": Kind(provider=Painter(self._clock, seconds=0), store=store)}
            parts = {"ledger": ledger, "kinds": kinds, "images": self._images, "clock": self._clock}
            coordinator = Coordinator(**parts, ahead=())  # type: ignore[arg-type]
            renditions = Renditions(coordinator=coordinator, **parts)  # type: ignore[arg-type]
            for text in self._texts:
                self._originals[text] = await self._keep_original(coordinator, ledger, store, text)
            figures = await self._in_process(renditions)
            await renditions.shut_down(within_seconds=30)
            figures += await self._over_http(started)
            await coordinator.shut_down(within_seconds=10)
            await ledger.close()
        self._images.close()
        return figures

    async def _keep_original(
        self, coordinator: Coordinator, ledger: PostgresLedger, store: FolderStore, text: str
    ) -> bytes:
        """Generated in a form that is not measured; the original's bytes, which are what is decoded alone."""
        key = request_of(f"/{CANVAS}.jpg", _query(text)).generation_key
        await coordinator.find(request_of(f"/{CANVAS}.jpg", _query(text)), GENERATE)
        found = await ledger.peek(key, original_key(key))
        assert isinstance(found, Hit)
        return await store.get(found.entry.path)

    async def _in_process(self, renditions: Renditions) -> list[Figure]:
        figures: list[Figure] = []
        for form in PictureFormat:
            alone: list[float] = []
            asked: list[float] = []
            for text in self._texts:
                request = request_of(f"/{CANVAS}.{form}", _query(text, WIDTH))
                alone.append(await self._alone(text, request.rendition))
                began = time.perf_counter()
                found = await renditions.read(request, GENERATE)
                asked.append((time.perf_counter() - began) * 1_000)
                assert found.body is not None
                # What is kept behind the answer does not disturb the next.
                await renditions.shut_down(within_seconds=10)
            figures += _figures("in process", form, asked, alone)
        return figures

    async def _over_http(self, started: Cluster) -> list[Figure]:
        figures: list[Figure] = []
        with serve(self._run.folder, started.owner_url, log="server") as server:
            parts = urlsplit(server.address)
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)
            for form in PictureFormat:
                alone: list[float] = []
                asked: list[float] = []
                for number, text in enumerate(self._texts):
                    path, query = f"/{CANVAS}.{form}", _query(text, WIDTH_OVER_HTTP)
                    alone.append(await self._alone(text, request_of(path, query).rendition))
                    began = time.perf_counter()
                    connection.request("GET", f"{path}?text={query}")
                    answer = connection.getresponse()
                    answer.read()
                    took = (time.perf_counter() - began) * 1_000
                    assert answer.status == 200, answer.status
                    if number:  # the first loads what is loaded once
                        asked.append(took)
                    await asyncio.sleep(0.05)
                figures += _figures("over HTTP", form, asked, alone[1:])
        return figures

    async def _alone(self, text: str, rendition: Rendition) -> float:
        began = time.perf_counter()
        async with self._images.open(self._originals[text], model="m", is_urgent=False) as picture:
            await picture.encode(rendition, canvas=CANVAS)
        return (time.perf_counter() - began) * 1_000


def _query(text: str, width: int | None = None) -> str:
    """What follows `text=` in a URL."""
    return text.replace(" ", "+") + ("" if width is None else f"&w={width}")


def _figures(where: str, form: PictureFormat, asked: list[float], alone: list[float]) -> list[Figure]:
    what = f"{form}, {where}"
    return [
        median_figure(ratios(asked, alone), what=f"{what}, to decoding and encoding alone", unit="ratio", how=HOW,
                      at_most=MOST_RATIO),
        median_figure(asked, what=what, unit="ms", how=HOW),
        median_figure(alone, what=f"{what}, decoding and encoding alone", unit="ms", how=HOW),
    ]  # fmt: skip
