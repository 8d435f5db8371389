"""Who makes pictures, and who checks and encodes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from copperplate.model import (
        CanonicalValue,
        CleanPicture,
        InputPicture,
        Job,
        PictureFacts,
        PictureFormat,
        Placeholder,
        ProviderResult,
        Rendition,
        Size,
    )
    from copperplate.processing_models import ProcessingModel


class Provider(Protocol):
    """Makes pictures, for money or not."""

    name: str
    models: tuple[str, ...]
    is_billable: bool

    def settings(self, model: str) -> tuple[str, ...]:
        """Every fixed parameter that can change a pixel, as sorted `name=value`; part of the key."""

    def canvas(self, size: Size) -> Size:
        """The size it will make for an asked size: its own multiples and minimum, covering it."""

    def price_micro_usd(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()) -> int | None:
        """What one generation costs, in millionths of a dollar; None where that is not known.

        What depends on the size of `inputs` is the stated worst case where none are given.
        """

    def cost_micro_usd(self, recipe: Mapping[str, CanonicalValue], usage: Mapping[str, int]) -> int | None:
        """What a submit that reported `usage` cost, in millionths of a dollar; None where that cannot be told."""

    async def submit(
        self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()
    ) -> Job | ProviderResult:
        """Ask for the picture: exactly one billable request, never repeated inside.

        `inputs` are the pictures that the recipe names by their digests; only a provider that processes pictures
        reads them.

        Answers the picture, or the `Job` to collect. Raises `ProviderFailed`, of class `ACCOUNT` where it refuses us
        whatever the prompt, and `Misconfigured` where a setting is at fault and nothing was sent or taken.
        """

    async def collect(self, job: Job) -> ProviderResult:
        """Wait for a job and fetch its picture; safe to repeat.

        Raises `ProviderFailed` only where the provider says that the job failed, or shows what is no picture;
        `Uncollected` for all else, after some seconds of asking again.
        """

    async def close(self) -> None:
        """Let go of connections; a later call starts afresh."""


class ProcessingProvider(Provider, Protocol):
    """A provider that makes pictures from others. The first model of an operation is its default."""

    operations: Sequence[ProcessingModel]

    async def prepare(self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture]) -> None:
        """Take what `submit` will be given, before it is recorded as a submit: nothing here is billed.

        Repeated, it sends nothing twice. Raises what reading an input raises, and `ProviderFailed`, not billed: also
        for a model that is not offered any more.
        """


class OpenPicture(Protocol):
    """An original that is decoded once for all the renditions asked of it while it is open."""

    async def encode(self, rendition: Rendition, *, canvas: Size, at_most_bytes: int | None = None) -> bytes:
        """The rendition: upright, in sRGB, cropped and scaled to its size (None: `canvas`), encoded anew.

        A png above `at_most_bytes` is given a palette; where that does not do either, it fails.
        Raises as `Images.verify` does.
        """


class Images(Protocol):
    """Verifies and encodes pictures, off the event loop.

    `encoder_version` grows whenever encoded renditions change: a kept one of an older version is made again.
    """

    encoder_version: int

    async def verify(self, body: bytes, *, covers: Size, begin: Callable[[], Awaitable[None]]) -> PictureFacts:
        """What `body` is, by its bytes alone: fully decoded in bounded memory and time.

        `begin` is awaited when its turn has come, before the first pixel is decoded; what it raises ends the matter.
        Raises `ProviderFailed` (bad output), `StillGenerating` where its turn did not come in time.
        """

    def open(
        self, original: bytes, *, model: str | None, is_urgent: bool = True
    ) -> AbstractAsyncContextManager[OpenPicture]:
        """Open an original, made by `model`, to encode renditions of it; it holds memory until it is closed.

        Without a model renditions are labelled only where the original's own bytes say that one made it.
        What is not urgent works beside what is: in fewer threads, of a lower priority, with memory of its own.
        Raises `ProviderFailed` (bad output) if it cannot be decoded, `StillGenerating` where its turn did not come in
        time; both also at the first `encode`.
        """

    async def placeholder(self, body: bytes) -> Placeholder:
        """The placeholder of a kept picture, made beside what is urgent; `verify` answers those of new ones.

        Raises `ProviderFailed` (bad output) if it cannot be decoded, `StillGenerating` where its turn did not come in
        time.
        """

    async def draw_placeholder(
        self, placeholder: Placeholder, picture_format: PictureFormat, *, canvas: Size, model: str | None
    ) -> bytes:
        """The tiny picture of a ThumbHash, at most 32 px a side, in the shape of `canvas`, labelled like a rendition.

        Raises `ValueError` where it is no ThumbHash.
        """


class Cleaner(Protocol):
    """Judges pictures that somebody brings, off the event loop."""

    async def clean(self, body: bytes) -> CleanPicture:
        """The picture encoded anew: its first frame, upright, in sRGB, without anything else.

        The bytes are judged by their headers before they are decoded. Raises `InvalidPicture`, `UnsupportedPicture`,
        `PictureTooLarge`, and `StillGenerating` where its turn did not come in time.
        """
