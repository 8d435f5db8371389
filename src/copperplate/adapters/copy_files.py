"""A copy of a picture as one file: a prefix, a header in JSON, and the bytes."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from copperplate.feed import Cursor
from copperplate.model import Entry, Placeholder
from copperplate.ports.tiers import Copy

if TYPE_CHECKING:
    from collections.abc import Mapping

# The number is the format's version: a file of another one does not begin like this.
MAGIC: Final = b"copperplate copy 1\n"
LENGTH_BYTES: Final = 4  # of the header's length, big-endian
DIGEST_BYTES: Final = 32  # of the header's SHA-256, raw
# Two files with the same prefix have the same header, in which the digest of the bytes is.
PREFIX_BYTES: Final = len(MAGIC) + LENGTH_BYTES + DIGEST_BYTES


def head_of(copy: Copy) -> bytes:
    """Everything of the file that stands before the bytes."""
    header = json.dumps(
        {"entry": entry_row(copy.entry), "cursor": str(copy.cursor), "database": copy.database}, separators=(",", ":")
    ).encode()
    return MAGIC + len(header).to_bytes(LENGTH_BYTES) + hashlib.sha256(header).digest() + header


def head_bytes_of(raw: bytes) -> int:
    """How long the head of a file that begins like this is, by its prefix."""
    return PREFIX_BYTES + int.from_bytes(raw[len(MAGIC) : len(MAGIC) + LENGTH_BYTES])


def read_copy(raw: bytes, key: str, database: str) -> tuple[bytes, Copy]:
    """Head and copy of a whole file, every byte verified by the digests. Raises `ValueError` where one is wrong."""
    if not raw.startswith(MAGIC) or len(raw) < PREFIX_BYTES:
        raise ValueError("it is not of this version")
    end = head_bytes_of(raw)
    head, body = raw[:end], raw[end:]
    if hashlib.sha256(head[PREFIX_BYTES:]).digest() != head[PREFIX_BYTES - DIGEST_BYTES : PREFIX_BYTES]:
        raise ValueError("its header was altered")
    copy = _copy_of(head[PREFIX_BYTES:], body)
    if copy.entry.key != key:
        raise ValueError("it is of another picture")
    if copy.database != database:
        raise ValueError("it is of another database")
    if len(body) != copy.entry.size_bytes or hashlib.sha256(body).hexdigest() != copy.entry.digest:
        raise ValueError("its bytes were altered")
    return head, copy


def read_head(raw: bytes) -> Copy | None:
    """The copy whose file begins like this, without its bytes; None where that is not its whole head, verified."""
    end = head_bytes_of(raw)
    header = raw[PREFIX_BYTES:end]
    is_whole = raw.startswith(MAGIC) and PREFIX_BYTES < end <= len(raw)
    if not is_whole or hashlib.sha256(header).digest() != raw[PREFIX_BYTES - DIGEST_BYTES : PREFIX_BYTES]:
        return None
    try:
        return _copy_of(header, None)
    except ValueError:
        return None


def _copy_of(header: bytes, body: bytes | None) -> Copy:
    try:
        row = json.loads(header)
        return Copy(
            entry=entry_of(row["entry"]), cursor=Cursor.parse(row["cursor"]), database=row["database"], body=body
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("its header is not of this version") from error


def entry_row(entry: Entry) -> dict[str, Any]:
    """An entry in JSON, field by field; `entry_of` reads it."""
    row = asdict(entry)
    if entry.placeholder is not None:
        row["placeholder"] = {**row["placeholder"], "thumbhash": b64encode(entry.placeholder.thumbhash).decode()}
    return row


def entry_of(row: Mapping[str, Any]) -> Entry:
    """The entry that `entry_row` wrote. Raises `ValueError`, `KeyError`, `TypeError` where it is none."""
    placeholder = row["placeholder"]
    if placeholder is not None:
        placeholder = Placeholder(thumbhash=b64decode(placeholder["thumbhash"]), color=placeholder["color"])
    return Entry(**{**row, "placeholder": placeholder})
