"""Uploads that go past this server, straight to the store: for files above what a function may be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from copperplate.access.object_tokens import name_upload
from copperplate.access.owners import named_owner
from copperplate.denials import UploadNeedsName
from copperplate.recipes.kinds import PROCESSED
from copperplate.source_errors import NoDirectUploads, PictureTooLarge, UnsupportedPicture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.access.caller import Caller
    from copperplate.model import UploadAddress
    from copperplate.ports import Clock, ObjectStore

MAX_UPLOAD_BYTES: Final = PROCESSED.max_bytes
# How an object's name ends, by what is uploaded; what it really is, its bytes say.
ENDINGS: Final[Mapping[str, str]] = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/gif": "gif",
}
_NOT_TAKEN: Final = (
    f"Give the content_type of the file, one of {', '.join(ENDINGS)}. Save other pictures as JPEG or PNG."
)
_TOO_LARGE: Final = f"A picture has at most {MAX_UPLOAD_BYTES} bytes: save it smaller."
_SEND_IT: Final = (
    f"The pictures of this server lie in a folder: send the file itself, up to {MAX_UPLOAD_BYTES >> 20} MB."
)


def uploader(caller: Caller) -> str:
    """Whose the upload is. Raises `Unauthorized` for a caller nobody knows, `UploadNeedsName` for a nameless one."""
    return named_owner(caller, what="A direct upload", denial=UploadNeedsName)


async def offer_upload(
    store: ObjectStore, caller: Caller, *, media_type: str, size_bytes: int, clock: Clock
) -> tuple[str, UploadAddress]:
    """A new name in `store`, and where the caller may upload a file to it; `Sources.of_upload` reads it for them alone.

    Nothing is written down here: the name itself shows whose it is. Raises as `uploader` does, `UnsupportedPicture`,
    `PictureTooLarge`, `NoDirectUploads`, and what the store raises.
    """
    owner, ending = uploader(caller), ENDINGS.get(media_type)
    if ending is None:
        raise UnsupportedPicture(_NOT_TAKEN)
    if size_bytes > MAX_UPLOAD_BYTES:
        raise PictureTooLarge(_TOO_LARGE)
    path = name_upload(await store.address_secret(), owner, now=clock.now(), ending=ending)
    address = await store.upload_address(path, media_type=media_type)
    if address is None:
        raise NoDirectUploads(_SEND_IT)
    return path, address
