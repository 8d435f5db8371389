"""Renditions beside an original: encoded from one open picture, each stored as soon as it is encoded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from copperplate.generation.crash_points import crash_point
from copperplate.generation.digests import digest_of
from copperplate.generation.pending_uploads import StoredRendition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from copperplate.generation.pending_uploads import PendingUploads
    from copperplate.generation.rendition_plan import PlannedRendition
    from copperplate.model import PictureRequest, Upload
    from copperplate.ports import Images, OpenPicture

logger = logging.getLogger(__name__)

# For so long a caller waits for a rendition that nobody asked for.
AHEAD_SECONDS: Final = 5.0


@dataclass(slots=True, kw_only=True, eq=False)
class RenditionUploads:
    """Makes the planned renditions of one original. Their failures are logged: the original is what is paid for."""

    images: Images
    request: PictureRequest
    pending: PendingUploads
    put: Callable[[Upload, bytes], Awaitable[None]]
    stored: dict[str, StoredRendition] = field(default_factory=dict)

    async def store(self) -> tuple[StoredRendition, ...]:
        """Those that are stored, in the order of the plan. `Renditions` makes the others when they are asked for."""
        plan = self.pending.plan
        if not plan:
            return ()
        model = self.request.model if self.pending.original.is_ai_made else None
        ahead_ends_at = asyncio.get_running_loop().time() + AHEAD_SECONDS
        is_asked_for = not plan[0].is_ahead
        with self._failing("all of them"):
            # The picture is closed before the last object is stored: what is open takes memory that others wait for.
            async with (
                asyncio.timeout_at(None if is_asked_for else ahead_ends_at),
                asyncio.TaskGroup() as storing,
                self.images.open(self.pending.original_body, model=model) as picture,
            ):
                making = (
                    self._make(picture, planned, storing, ahead_ends_at if planned.is_ahead else None)
                    for planned in plan
                )
                await asyncio.gather(*making)
        return tuple(self.stored[planned.key] for planned in plan if planned.key in self.stored)

    async def _make(
        self, picture: OpenPicture, planned: PlannedRendition, storing: asyncio.TaskGroup, ends_at: float | None
    ) -> None:
        with self._failing(planned.rendition.format):
            async with asyncio.timeout_at(ends_at):
                body = await picture.encode(planned.rendition, canvas=self.request.canvas)
            storing.create_task(self._put(planned, body, ends_at))

    async def _put(self, planned: PlannedRendition, body: bytes, ends_at: float | None) -> None:
        with self._failing(planned.rendition.format):
            upload = planned.as_upload(
                digest=await digest_of(body), size_bytes=len(body), encoder_version=self.images.encoder_version
            )
            crash_point("encoded")
            async with asyncio.timeout_at(ends_at):
                await self.put(upload, body)
            crash_point("rendition_uploaded")
            self.stored[planned.key] = StoredRendition(upload=upload, body=body)

    @contextlib.contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, the original is stored
            logger.warning(
                "a rendition is not stored beside its original: rendition=%s error=%s key=%s",
                what,
                type(error).__name__,
                self.request.generation_key[:12],
            )
