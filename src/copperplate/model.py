"""The values that pass between the layers. Pure: no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from copperplate.failure_classes import FailureClass

# The last migration this program was written for.
SCHEMA = "20261120001000"

# The largest picture that is taken, or kept as it was made.
MAX_PICTURE_BYTES: Final = 32 * 1024 * 1024

# A canonical recipe: ASCII keys; strings, booleans, integers below 2^53 and arrays of strings.
CanonicalValue = str | bool | int | list[str]
CanonicalRecipe = dict[str, CanonicalValue]


class PictureFormat(StrEnum):
    """What is served. `jpeg` in a URL is an alias of `jpg` and never a format of its own."""

    JPG = "jpg"
    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"

    @property
    def media_type(self) -> str:
        """The `Content-Type` of a picture in this format."""
        return "image/jpeg" if self is PictureFormat.JPG else f"image/{self.value}"


class Outcome(StrEnum):
    """How one request for a picture ended; spelled the same in SQL, logs and metrics."""

    HIT = "hit"
    STALE = "stale"  # a copy, while the ledger does not answer
    COALESCED = "coalesced"
    GENERATED = "generated"
    FAILED = "failed"

    # That of enums runs in Python, and every hit hashes one.
    __hash__ = str.__hash__


class Phase(StrEnum):
    """Recovery point of a generation in flight: what a successor must assume has happened."""

    CLAIMED = "claimed"  # nothing was sent
    SUBMITTING = "submitting"  # money may be out, its receipt unknown
    SUBMITTED = "submitted"  # the provider's request id is noted
    UPLOADING = "uploading"  # an object may lie at the intended path


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    def covers(self, other: Size) -> bool:
        """Whether a picture of this size can be cropped or scaled down to `other`."""
        return self.width >= other.width and self.height >= other.height

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One form of a picture: format, quality 1 to 100 where the format has one (None for png), and size in px.

    `size` is None for the whole canvas.
    """

    format: PictureFormat
    quality: int | None
    size: Size | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placeholder:
    """What is shown until a picture has come: its ThumbHash, and its dominant colour as `#rrggbb`."""

    thumbhash: bytes
    color: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFacts:
    """What verification found: the sniffed format, the upright size in px, and what else the bytes tell."""

    format: str
    size: Size
    placeholder: Placeholder | None = None
    # Whether the provider signed the picture's origin (C2PA).
    has_c2pa: bool = False
    # Whether the pixels lie in the file as they are shown.
    is_upright: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanPicture:
    """A picture that somebody brought, encoded anew: upright, in sRGB, its pixels and nothing else.

    `source_format` is what it came in: jpg, png, webp, avif or gif.
    """

    body: bytes = field(repr=False)
    format: PictureFormat
    size: Size
    source_format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPicture:
    """A picture to be processed. `digest` is the SHA-256 of its bytes as they came, `size` is upright, in px.

    `read` answers what a provider is given, and `address` where a provider can load the same for an hour, or None where
    the bytes have to be sent. Both are asked by the leader alone.
    """

    digest: str
    size: Size
    read: Callable[[], Awaitable[CleanPicture]]
    address: Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRequest:
    """What one request asks for, reduced to keys.

    `recipe` is canonical; `generation_key` is its SHA-256 in hex, `rendition_key` that of the
    rendition's own recipe. `canvas` is the size of the whole picture.
    """

    kind: str
    recipe: Mapping[str, CanonicalValue] = field(repr=False)  # holds the prompt
    generation_key: str
    rendition_key: str
    rendition: Rendition
    canvas: Size
    # The pictures that the recipe names by their digests; their bytes are in no key, no log and no ledger.
    inputs: tuple[InputPicture, ...] = field(default=(), repr=False, compare=False)

    @property
    def model(self) -> str:
        """The model named in the recipe."""
        return str(self.recipe["model"])

    @property
    def size(self) -> Size:
        """What the caller gets, in px."""
        return self.rendition.size or self.canvas


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An object about to be stored, or just stored: where, and exactly what."""

    path: str
    digest: str  # SHA-256 of the bytes, hex
    size_bytes: int
    format: str
    width: int
    height: int

    def as_entry(self, *, kind: str, key: str, generation_key: str, is_original: bool) -> Entry:
        """The entry of this object, once it is stored and recorded."""
        return Entry(
            kind=kind,
            key=key,
            generation_key=generation_key,
            path=self.path,
            digest=self.digest,
            size_bytes=self.size_bytes,
            format=self.format,
            width=self.width,
            height=self.height,
            is_original=is_original,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalUpload(Upload):
    """An original about to be stored, or just stored, with what verification found."""

    placeholder: Placeholder | None = None
    has_c2pa: bool = False
    # False of an imported picture of which nobody says that a model made it.
    is_ai_made: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RenditionUpload(Upload):
    """A rendition about to be stored, or just stored, with the key of its entry.

    `is_sized`: it is not the whole canvas. `encoder_version`: see `Images`.
    """

    key: str
    quality: int | None = None
    is_sized: bool = False
    encoder_version: int = 0

    def as_entry(self, *, kind: str, key: str, generation_key: str, is_original: bool) -> Entry:
        """The entry of this object, once it is stored and recorded."""
        entry = Upload.as_entry(self, kind=kind, key=key, generation_key=generation_key, is_original=is_original)
        return replace(entry, encoder_version=self.encoder_version)

    def beside(self, original: Entry) -> Entry:
        """The entry of this object, once it is stored and recorded as a rendition of `original`."""
        entry = self.as_entry(
            kind=original.kind, key=self.key, generation_key=original.generation_key, is_original=False
        )
        return replace(entry, placeholder=original.placeholder, is_ai_made=original.is_ai_made)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One stored object as the ledger knows it. `key` is the rendition's key.

    `encoder_version` is that of the encoders that made a rendition (see `Images`), 0 for an original. `is_ai_made` is
    False of imported pictures of which nobody says that a model made them: their renditions carry no label.
    """

    kind: str
    key: str
    generation_key: str
    path: str
    digest: str
    size_bytes: int
    format: str
    width: int
    height: int
    is_original: bool
    placeholder: Placeholder | None = None
    encoder_version: int = 0
    is_ai_made: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object as a store lists it; `stored_at` is aware, by the store's own clock."""

    path: str
    stored_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadAddress:
    """Where one object may be stored by a PUT of its bytes with these headers, until `expires_at` (UTC)."""

    url: str = field(repr=False)
    headers: Mapping[str, str]
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some objects of one month, and the offset at which the next page begins (None after the last).

    `odd` counts what lies among them and is no object of ours.
    """

    objects: Sequence[StoredObject]
    next_offset: int | None
    odd: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a store must be able to do for one picture: take so many bytes of these types, at an address or not.

    AVIF is not among them: no original is one, and without its rendition a picture is only encoded again.
    """

    media_types: frozenset[str] = frozenset(each.media_type for each in PictureFormat if each is not PictureFormat.AVIF)
    min_bytes: int = 0
    address: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Which pictures are declared wrong: those that meet everything given here, which is at least one thing.

    `key` is a generation's, or a rendition's; `older_than` is the age of the generation.
    """

    key: str | None = None
    prompt: str | None = field(default=None, repr=False)
    key_prefix: str | None = None
    model: str | None = None
    older_than: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request that a provider works on: its id, and the URLs it told us, never built by us."""

    request_id: str
    urls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderResult:
    """A picture as the provider made it, and what it reported to bill for it.

    `usage` holds whole numbers of the provider's own units by name (docs/providers.md lists them);
    empty where nothing was reported.
    """

    body: bytes = field(repr=False)
    usage: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A signed-in person, by the id that Supabase Auth gave them.

    `is_anonymous`: they signed in without saying who they are. `tier` is what the owner put into `app_metadata`.
    """

    id: UUID
    is_anonymous: bool = False
    tier: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed attempt as it is written to the ledger: a negative entry with its own TTL.

    `usage` and `cost_micro_usd` are what the provider reported to bill for a picture that is not usable.
    """

    failure_class: FailureClass
    message: str = field(repr=False)
    retry_after: timedelta
    billed: bool
    usage: Mapping[str, int] = field(default_factory=dict)
    cost_micro_usd: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCount:
    """Requests of one kind for one picture since the last flush, summed.

    `latency_buckets` counts requests by time to answer; bucket n ends at `LATENCY_BOUNDS_MS[n]`.
    """

    generation_key: str
    rendition_key: str
    format: str
    kind: str
    provider: str
    model: str
    outcome: Outcome
    tier: str
    count: int
    size_bytes: int
    latency_buckets: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyRecord:
    """What is known of a request under an Idempotency-Key.

    A conflict: the key stands for another generation. `answer` is what was delivered before, if anything was.
    """

    is_conflict: bool
    answer: Mapping[str, object] | None


LATENCY_BOUNDS_MS = (1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000, 15_000, 30_000)
