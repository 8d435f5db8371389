"""Ten thousand different display parameters on one picture: what they keep, take, and cost other people's hits."""

from __future__ import annotations

import itertools
import os
import time
from statistics import median
from typing import TYPE_CHECKING, Final

from bench.harness import browsers
from bench.harness.callers import sustain
from bench.harness.databases import cluster, put_picture, query, request_of
from bench.harness.figures import Figure
from bench.harness.processes import SERVER_CORE, Server, pinned, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.harness.figures import Run

SETS: Final = 10_000
# As many as may wait for one picture, and twice as many.
CONNECTIONS: Final = (64, 128)
HIT_CONNECTIONS: Final = 32
HIT_PATH, HIT_TEXT = "/1024x1024.jpg", "stored"
FLOODED, CANVAS = "flooded", 512
WIDTHS: Final = (16, 32, 48, 64, 96, 128, 256, 384, 512)
FORMS: Final = ("jpg", "webp", "avif", "png")
QUALITIES: Final = (40, 60, 75, 85, 95)


def measure(run: Run) -> list[Figure]:
    """Kept renditions and processor time of 10,000 parameter sets on one picture; hits of others beside them."""
    raise NotImplementedError


def sets() -> Iterator[str]:
    """Paths that differ, most of them in the bytes that they ask for."""
    heights = itertools.count(16)
    for quality, width, form in itertools.cycle(itertools.product(QUALITIES, WIDTHS, FORMS)):
        yield f"/{CANVAS}x{CANVAS}.{form}?text={FLOODED}&w={width}&h={next(heights) % 1_000 + 1}&q={quality}"
