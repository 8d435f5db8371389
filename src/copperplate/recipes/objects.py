"""Keys and names of stored objects."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from copperplate.model import RenditionUpload
from copperplate.recipes.canonical import cache_key

if TYPE_CHECKING:
    from datetime import datetime

    from copperplate.model import CanonicalRecipe, PictureRequest


# Of a generation, or of one of its forms.
KEY: Final = re.compile(r"[0-9a-f]{64}")
# What every picture is tagged with, so that a CDN can forget all of them.
ALL_TAG = "copperplate"


def tag_of(generation_key: str) -> str:
    """The tag of every rendition of a generation: its prefix is enough to tell generations apart."""
    return f"{ALL_TAG}-{generation_key[:16]}"


def original_recipe(generation_key: str) -> CanonicalRecipe:
    """The canonical recipe of the bytes as the provider made them."""
    return {"format": "original", "generation": generation_key, "kind": "rendition", "v": 1}


@lru_cache(maxsize=1_024)
def original_key(generation_key: str) -> str:
    """The key of the bytes as the provider made them; hashed once, though several steps of a miss ask."""
    return cache_key(original_recipe(generation_key))


def sha256_hex(body: bytes) -> str:
    """The digest of some bytes: SHA-256 in 64 lower-case hex digits."""
    return hashlib.sha256(body).hexdigest()


def object_path(now: datetime, digest: str, key: str, nonce: str, extension: str) -> str:
    """`YYYY/MM/<sha256(digest, key, nonce)>.<extension>`: one name for one attempt to store one picture.

    `nonce` is the fence, or a random value where there is no lease, so no two attempts share a name
    and no prompt can be guessed from one. The digest stands for the bytes.
    """
    name = hashlib.sha256(f"{digest}\n{key}\n{nonce}".encode()).hexdigest()
    return f"{now:%Y/%m}/{name}.{extension}"


def rendition_upload(
    request: PictureRequest, *, digest: str, size_bytes: int, now: datetime, nonce: str, encoder_version: int
) -> RenditionUpload:
    """The rendition asked for, encoded to bytes of this digest, under a name of its own; `nonce`: see `object_path`."""
    return RenditionUpload(
        key=request.rendition_key,
        path=object_path(now, digest, request.rendition_key, nonce, request.rendition.format),
        digest=digest,
        size_bytes=size_bytes,
        format=request.rendition.format,
        width=request.size.width,
        height=request.size.height,
        quality=request.rendition.quality,
        is_sized=request.rendition.size is not None,
        encoder_version=encoder_version,
    )
