"""What a copy of an entry is in Redis: JSON that people can read, and that nobody else can have written."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from copperplate.adapters.object_paths import is_object_path
from copperplate.feed import Cursor
from copperplate.model import Entry, Placeholder
from copperplate.ports.tiers import Copy
from copperplate.recipes.kinds import KINDS
from copperplate.strict_json import InvalidJSON, parse_object

if TYPE_CHECKING:
    from copperplate.model import PictureRequest

# All keys of ours begin so.
PREFIX: Final = "copperplate:copy:"
# Larger ones are neither written nor read.
MAX_VALUE_BYTES: Final = 32 * 1024
TITLE_CHARS: Final = 80

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Placeholder(BaseModel):
    model_config = ConfigDict(strict=True)

    thumbhash: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}){1,64}$")]
    color: Annotated[str, StringConstraints(pattern=r"^#[0-9a-f]{6}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True)

    kind: str
    key: Digest
    generation_key: Digest
    path: str
    digest: Digest
    size_bytes: Annotated[int, Field(gt=0)]
    format: Literal["jpg", "png", "webp", "avif"]
    width: Annotated[int, Field(gt=0, le=65_535)]
    height: Annotated[int, Field(gt=0, le=65_535)]
    is_original: bool
    placeholder: _Placeholder | None
    encoder_version: Annotated[int, Field(ge=0, lt=2**31)]
    is_ai_made: bool


class _Value(BaseModel):
    model_config = ConfigDict(strict=True)

    entry: _Entry
    cursor: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}:[0-9]{1,19}:([0-9]{1,19}(,[0-9]{1,19})*)?$")]


def name_of(key: str, database: str) -> str:
    """The key in Redis of the rendition with that key, of one database; its id cannot be told from it."""
    return f"{prefix_of(database)}{key}"


def prefix_of(database: str) -> str:
    """How the keys in Redis of one database begin."""
    return f"{PREFIX}{hashlib.sha256(database.encode()).hexdigest()[:16]}:"


def write_value(copy: Copy, request: PictureRequest, *, has_prompt: bool) -> bytes | None:
    """The value of a copy; None where it would be too large. The prompt is in it only where it may be."""
    entry = copy.entry
    prompt = KINDS[request.kind].read(request.recipe).prompt if has_prompt else None
    value: dict[str, Any] = {
        "thread_id": entry.generation_key,
        "style": request.recipe.get("style", request.recipe.get("colorTheme")),
        "title": f"{request.size}.{request.rendition.format}" if prompt is None else prompt[:TITLE_CHARS],
        "prompt": prompt,
        "model": request.model,
        "cached": True,
        "entry": _members(entry),
        "cursor": str(copy.cursor),
    }
    written = _dump(value | {"seal": _seal(value, entry.key, copy.database)})
    return written if len(written) <= MAX_VALUE_BYTES else None


def read_value(raw: object, key: str, database: str) -> Copy | None:
    """The copy of the rendition with that key; None for whatever was not written by a process of this database."""
    if not isinstance(raw, bytes) or not 0 < len(raw) <= MAX_VALUE_BYTES:
        return None
    try:
        value = parse_object(raw)
        seal = value.pop("seal", None)
        # Whoever may write to the server does not know the database's id.
        if not isinstance(seal, str) or not hmac.compare_digest(seal.encode(), _seal(value, key, database).encode()):
            return None
        checked = _Value.model_validate(value)
        entry = _entry_of(checked.entry)
    except (InvalidJSON, ValidationError, ValueError):
        return None
    is_ours = entry.key == key and entry.kind in KINDS and KINDS[entry.kind].is_public
    if not is_ours or not is_object_path(entry.path) or entry.size_bytes > KINDS[entry.kind].max_bytes:
        return None
    return Copy(entry=entry, cursor=Cursor.parse(checked.cursor), database=database)


def _members(entry: Entry) -> dict[str, Any]:
    placeholder = entry.placeholder
    return {
        "kind": entry.kind,
        "key": entry.key,
        "generation_key": entry.generation_key,
        "path": entry.path,
        "digest": entry.digest,
        "size_bytes": entry.size_bytes,
        "format": entry.format,
        "width": entry.width,
        "height": entry.height,
        "is_original": entry.is_original,
        "placeholder": placeholder and {"thumbhash": placeholder.thumbhash.hex(), "color": placeholder.color},
        "encoder_version": entry.encoder_version,
        "is_ai_made": entry.is_ai_made,
    }


def _entry_of(checked: _Entry) -> Entry:
    found = checked.placeholder
    placeholder = found and Placeholder(thumbhash=bytes.fromhex(found.thumbhash), color=found.color)
    return Entry(**{**checked.model_dump(), "placeholder": placeholder})


def _seal(value: dict[str, Any], key: str, database: str) -> str:
    """HMAC-SHA256 of a value without its seal, for one key, by the id of the database: random, and told to nobody."""
    return hmac.digest(database.encode(), key.encode() + b"\n" + _dump(value), "sha256").hex()


def _dump(value: dict[str, Any]) -> bytes:
    """The one way to write it. Lone surrogates, which no UTF-8 has, raise `ValueError`."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
