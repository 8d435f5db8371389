"""Source pictures: from what a caller brings to an input that a provider can be given.

Nothing is written for a picture before somebody leads: a caller who is refused costs a hash and a look-up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from copperplate.access.object_tokens import is_upload_of
from copperplate.access.owners import owner_of
from copperplate.access.visibility import find_visible
from copperplate.denials import TakenDown
from copperplate.errors import ObjectMissing
from copperplate.generation.digests import digest_of
from copperplate.ledger_answers import Gone, Hit
from copperplate.model import MAX_PICTURE_BYTES, CleanPicture, InputPicture, PictureFormat, Size
from copperplate.processing.fetches import Fetches
from copperplate.processing.parents import check_parent, find_parent, visible_ancestors
from copperplate.processing.upload_budget import UploadBudget
from copperplate.recipes.kinds import KINDS, PROCESSED
from copperplate.recipes.objects import KEY, object_path
from copperplate.recipes.processed import source_of, with_source
from copperplate.single_flight import SingleFlight
from copperplate.source_errors import SourceNotFetched, SourceUnknown
from copperplate.source_pictures import KeptInput, Parent, SourcePicture

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import Protocol

    from copperplate.access.caller import Caller
    from copperplate.model import Entry, PictureRequest
    from copperplate.ports import Cleaner, Clock, CreditLedger, KeptPictures, Ledger, ObjectStore, SourcePictures
    from copperplate.ports.sources import PictureSource
    from copperplate.processing.held_pictures import HeldPicture
    from copperplate.source_pictures import Crop, KnownSource, LineageNode

    class SourceLedger(Ledger, CreditLedger, KeptPictures, SourcePictures, Protocol):
        """The ports of the ledger that sources need."""


# So long a provider may load an input by its address: queues are longer than calls.
ADDRESS_VALID: Final = timedelta(hours=1)
_UNKNOWN: Final = "No such picture is known here, or it is not for you to process. Send the file itself."
_NO_UPLOAD: Final = (
    "Nothing was uploaded there, or not by you, or it is more than a day old. Ask for a new address, or send the file."
)
_NO_ADDRESSES: Final = "Pictures are not fetched by address here (COPPERPLATE_PROCESS_URLS). Send the file itself."
_GONE: Final = "The bytes of this picture are not here any more. Send the file itself."


@dataclass(slots=True, kw_only=True, eq=False)
class Source:
    """A picture that one caller brings.

    `note` writes down the picture and that its owner had it; `keep` also stores a clean copy for whoever makes the
    result later. Both may be repeated. `says_something_new`: its owner, who is known by name, was not noted yet, or its
    parent was not.
    """

    picture: SourcePicture
    says_something_new: bool
    input: InputPicture
    note: Callable[[], Awaitable[KnownSource]]
    keep: Callable[[], Awaitable[None]]


class Sources:
    """Reads pictures that are brought as bytes, by address or by the key of a kept one, or for a wish by their digest.

    What is in memory of them is bounded by `budget`. Those who bring the same bytes at the same time have them decoded
    once, and stored once. `web` is where pictures are fetched from by address; None: they are not.
    """

    def __init__(
        self,
        *,
        ledger: SourceLedger,
        cleaner: Cleaner,
        stores: Mapping[str, ObjectStore],
        clock: Clock,
        web: PictureSource | None = None,
    ) -> None:
        self._ledger = ledger
        self._cleaner = cleaner
        self._stores = stores
        self._clock = clock
        self._fetches = None if web is None else Fetches(web)
        self.budget = UploadBudget()
        self._cleanings: SingleFlight[CleanPicture] = SingleFlight()
        self._keepings: SingleFlight[KeptInput] = SingleFlight()

    @property
    def store(self) -> ObjectStore:
        """Where processed pictures are, and clean copies of what they are made from."""
        return self._stores[PROCESSED.bucket]

    async def of_bytes(self, body: bytes, caller: Caller, *, parent: Parent | None = None) -> Source:
        """The picture of these bytes, for which nobody waits; see `of_held`."""
        return await self.of_held(await self.budget.hold(body), caller, parent=parent)

    async def of_held(
        self, held: HeldPicture, caller: Caller, *, parent: Parent | None = None, may_decode: bool = True
    ) -> Source:
        """The picture that was sent. Where it is not known yet it is decoded: only a whole picture is a source.

        The first parent that is declared for it stands. Raises `TakenDown`, what `check_parent` and `Cleaner.clean`
        raise, and `SourceUnknown` for an unknown one where `may_decode` is False.
        """
        owner, content = owner_of(caller), _Content(read=partial(self._clean, held), address=_nowhere)
        known = await self._ledger.find_source(held.digest, owner=owner)
        if known is not None:
            # Of bytes that others had, too, nobody may say that they are cropped from a picture of theirs.
            is_believed = parent is not None and (parent.crop is None or known.is_owned_alone)
            picture = await self._with_parent(known.picture, parent, is_believed=is_believed)
            return self._source(picture, owner, known, content)
        if not may_decode:
            raise SourceUnknown(_UNKNOWN)
        clean = await self._clean(held)
        picture = SourcePicture(
            digest=held.digest, format=clean.source_format, size=clean.size, size_bytes=held.size_bytes
        )
        picture = await self._with_parent(picture, parent)
        return self._source(picture, owner, None, content)

    async def of_url(self, url: str, caller: Caller, *, parent: Parent | None = None) -> Source:
        """The picture at an https address, as if its bytes were sent: only they tell which picture it is.

        Whoever may have nothing made must not come here: what is fetched is not free. Raises `SourceNotFetched`, what
        `Fetches` raises, `TooManyUploads`, and as `of_held` does.
        """
        if self._fetches is None:
            raise SourceNotFetched(_NO_ADDRESSES)
        with self._fetches.place_of(caller):
            held = await self._read(partial(self._fetches.fetch, url))
        return await self.of_held(held, caller, parent=parent)

    async def of_kept(self, name: str, caller: Caller) -> Source:
        """A picture that is kept here, by its key or another of its names; nothing is uploaded.

        Raises `SourceUnknown` where there is none that this caller may see, and `TakenDown`.
        """
        kept = await find_visible(self._ledger, name, caller)
        if kept is None:
            # A tombstone says of which key it is to everybody.
            if KEY.fullmatch(name) and isinstance(await self._ledger.peek(name, name), Gone):
                raise TakenDown
            raise SourceUnknown(_UNKNOWN)
        match await self._ledger.peek(kept.generation_key, kept.key):
            case Hit(entry=entry) if entry.key == kept.key:
                pass
            case Gone():
                raise TakenDown
            case _:
                raise SourceUnknown(_UNKNOWN)
        owner = owner_of(caller)
        known = await self._ledger.find_source(entry.digest, owner=owner)
        noted = None if known is None else known.picture.parent
        picture = SourcePicture(
            digest=entry.digest,
            format=entry.format,
            size=Size(width=entry.width, height=entry.height),
            size_bytes=entry.size_bytes,
            parent=noted or Parent(generation_key=kept.generation_key),
        )
        return self._source(picture, owner, known, self._kept_entry(entry))

    async def parent_of(self, name: str, caller: Caller, crop: Crop | None = None) -> Parent:
        """The kept picture that somebody's file comes from. Raises as `find_parent` does."""
        return await find_parent(self._ledger, name, caller, crop)

    async def ancestors_of(self, generation_key: str, caller: Caller) -> Sequence[LineageNode]:
        """What a generation was made from, as far as this caller may see it, the farthest first."""
        return await visible_ancestors(self._ledger, generation_key, caller)

    async def of_upload(self, path: str, caller: Caller, *, parent: Parent | None = None) -> Source:
        """The picture that this caller uploaded under a name that was handed out to them; a cleanup removes it later.

        Its bytes are judged as if they were sent. Raises `SourceUnknown` for every other name alike, `TooManyUploads`,
        and what `of_held` and the store raise.
        """
        owner = owner_of(caller)
        # Another's upload costs no look at the store: what it costs tells nothing of whether it is there.
        if owner is None or not is_upload_of(owner, path, await self.store.address_secret()):
            raise SourceUnknown(_NO_UPLOAD)
        try:
            held = await self._read(partial(self.store.get, path))
        except ObjectMissing:
            raise SourceUnknown(_NO_UPLOAD) from None
        return await self.of_held(held, caller, parent=parent)

    async def of_wish(self, digest: str) -> InputPicture:
        """The input of a wish, from the clean copy that was stored with it. Raises `SourceUnknown`, `TakenDown`."""
        known = await self._ledger.find_source(digest, owner=None)
        if known is None or known.kept_input is None:
            raise SourceUnknown(_GONE)
        if known.is_taken_down:
            raise TakenDown
        return self._input(known.picture, self._kept_input(known.kept_input, known.picture))

    async def with_input(self, request: PictureRequest) -> PictureRequest:
        """The request of a wish with its input; other kinds have none. Raises as `of_wish` does."""
        if request.kind != PROCESSED.name:
            return request
        return with_source(request, await self.of_wish(source_of(request.recipe)))

    async def _read(self, read: Callable[[], Awaitable[bytes]]) -> HeldPicture:
        """A picture that we read ourselves, once there is room for the largest. Raises `TooManyUploads`."""
        async with self.budget.reading() as reading:
            await reading.add(MAX_PICTURE_BYTES)
            return await reading.finish(await read())

    async def _clean(self, held: HeldPicture) -> CleanPicture:
        """Its clean copy, made once of what is held. Raises what `Cleaner.clean` raises."""
        if held.clean is not None:
            return held.clean
        clean, _ = await self._cleanings.run(held.digest, partial(self._clean_now, held))
        return clean

    async def _clean_now(self, held: HeldPicture) -> CleanPicture:
        assert held.body is not None  # noqa: S101 - it is held until there is a clean copy
        clean = await self._cleaner.clean(held.body)
        held.keep_clean(clean)
        return clean

    async def _with_parent(
        self, picture: SourcePicture, parent: Parent | None, *, is_believed: bool = True
    ) -> SourcePicture:
        """What is declared is checked, whether it is new or not; the first that is believed stands."""
        if parent is None or parent == picture.parent:
            return picture
        await check_parent(self._ledger, parent, picture)
        return replace(picture, parent=parent) if is_believed and picture.parent is None else picture

    def _source(
        self, picture: SourcePicture, owner: str | None, known: KnownSource | None, content: _Content
    ) -> Source:
        if known is not None and known.is_taken_down:
            raise TakenDown
        note = partial(self._ledger.note_source, picture, owner=owner)

        async def noted_read() -> CleanPicture:
            await note()
            return await content.read()

        async def noted_address() -> str | None:
            await note()
            return await content.address()

        return Source(
            picture=picture,
            says_something_new=owner is not None
            and (known is None or not known.is_owned or known.picture.parent != picture.parent),
            input=InputPicture(digest=picture.digest, size=picture.size, read=noted_read, address=noted_address),
            note=note,
            keep=partial(self._keep, picture, owner, content),
        )

    def _input(self, picture: SourcePicture, content: _Content) -> InputPicture:
        return InputPicture(digest=picture.digest, size=picture.size, read=content.read, address=content.address)

    async def _keep(self, picture: SourcePicture, owner: str | None, content: _Content) -> None:
        known = await self._ledger.note_source(picture, owner=owner)
        if known.is_taken_down:
            raise TakenDown
        kept = known.kept_input
        if kept is None or not await self.store.exists(kept.path):
            store_input = partial(self._store_input, picture, content)
            try:
                kept, _ = await self._keepings.run(picture.digest, store_input)
            except SourceUnknown:  # of whoever we joined, perhaps: we may have the bytes
                kept = await store_input()
        # Nobody waits for what is promised: its bytes are not held in memory until it is made.
        content.move_to(self._kept_input(kept, picture))

    async def _store_input(self, picture: SourcePicture, content: _Content) -> KeptInput:
        """A clean copy in the store, unless somebody stored one at this moment."""
        # Unlike `find_source` it names no copy that is about to be swept.
        kept = (await self._ledger.note_source(picture, owner=None)).kept_input
        if kept is not None and await self.store.exists(kept.path):
            return kept
        clean = await content.read()
        digest = await digest_of(clean.body)
        path = object_path(self._clock.now(), digest, picture.digest, uuid4().hex, clean.format)
        kept = KeptInput(path=path, digest=digest, format=clean.format)
        await self.store.put(path, clean.body, media_type=clean.format.media_type)
        if not await self._ledger.keep_input(picture.digest, kept):
            raise TakenDown
        return kept

    def _kept_entry(self, entry: Entry) -> _Content:
        store = self._stores[KINDS[entry.kind].bucket]

        async def read() -> CleanPicture:
            try:
                body = await _whole(store, entry.path, entry.digest)
            except ObjectMissing:
                await self._ledger.report_missing(entry)
                raise SourceUnknown(_GONE) from None
            size = Size(width=entry.width, height=entry.height)
            return CleanPicture(body=body, format=PictureFormat(entry.format), size=size, source_format=entry.format)

        return _Content(read=read, address=partial(_address_in, store, entry.path))

    def _kept_input(self, kept: KeptInput, picture: SourcePicture) -> _Content:
        async def read() -> CleanPicture:
            try:
                body = await _whole(self.store, kept.path, kept.digest)
            except ObjectMissing:
                raise SourceUnknown(_GONE) from None
            return CleanPicture(body=body, format=kept.format, size=picture.size, source_format=picture.format)

        return _Content(read=read, address=partial(_address_in, self.store, kept.path))


@dataclass(slots=True, kw_only=True, eq=False)
class _Content:
    """The bytes of a source, and where a provider can load them itself."""

    read: Callable[[], Awaitable[CleanPicture]]
    address: Callable[[], Awaitable[str | None]]

    def move_to(self, other: _Content) -> None:
        """From now on the same picture is read there, and what held it here is let go."""
        self.read, self.address = other.read, other.address


async def _nowhere() -> None:
    """Bytes in memory have no address."""


async def _address_in(store: ObjectStore, path: str) -> str | None:
    try:
        return await store.signed_url(path, valid_for=ADDRESS_VALID)
    except ObjectMissing:  # reading it tells what to do about that
        return None


async def _whole(store: ObjectStore, path: str, digest: str) -> bytes:
    """The object at that path, if it is the one that was stored. Raises `ObjectMissing`."""
    body = await store.get(path)
    if await digest_of(body) != digest:
        raise ObjectMissing("the stored bytes are not the ones that were recorded")
    return body
