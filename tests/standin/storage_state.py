"""STAND-IN: what Supabase Storage keeps, and the errors it speaks in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.standin.scenario_log import ScenarioLog

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

MIB = 1024 * 1024
PICTURES = ("image/jpeg", "image/png", "image/webp")

# `code` of the body: its `statusCode`, its `error` and its `message`.
ERRORS: dict[str, tuple[int, str, str]] = {
    "NoSuchBucket": (404, "Bucket not found", "Bucket not found"),
    "NoSuchKey": (404, "not_found", "Object not found"),
    "BucketAlreadyExists": (409, "Duplicate", "The resource already exists"),
    "KeyAlreadyExists": (409, "Duplicate", "The resource already exists"),
    "EntityTooLarge": (413, "Payload too large", "The object exceeded the maximum allowed size"),
    "InvalidMimeType": (415, "invalid_mime_type", "mime type {} is not supported"),
    "AccessDenied": (403, "Unauthorized", "{}"),
    "InvalidKey": (400, "InvalidKey", "Invalid key: {}"),
    "InvalidRequest": (400, "Error", "{}"),
    "InvalidRange": (400, "invalid_range", "invalid range provided"),
    "ResourceNotEmpty": (409, "ResourceNotEmpty", "The bucket you tried to delete is not empty"),
    "MissingParameter": (400, "MissingParameter", "Missing Required Parameter {}"),
    "InvalidSignature": (400, "InvalidSignature", "Invalid signature"),
    "InvalidJWT": (400, "InvalidJWT", "{}"),
    "LockTimeout": (503, "acquiring_lock_timeout", "acquiring lock timeout"),
    "SlowDown": (429, "too_many_connections", "Too many connections issued to the database"),
    "DatabaseReadOnly": (
        503,
        "DatabaseReadOnly",
        "The database is currently in read-only mode. Please try again later.",
    ),
    "DatabaseTimeout": (544, "DatabaseTimeout", "The connection to the database timed out"),
    "InternalError": (500, "InternalError", "Internal server error"),
}
ROW_LEVEL_SECURITY = "new row violates row-level security policy"


class Refused(Exception):
    """An error of the service, by its `code`."""

    def __init__(self, code: str, *words: str) -> None:
        super().__init__(code)
        status, error, message = ERRORS[code]
        self.body = {"statusCode": str(status), "error": error, "message": message.format(*words), "code": code}
        # HTTP says 400 whatever the body says, but for overload and the faults of the service itself.
        self.status = status if status in (429, 500, 544) else 400


@dataclass
class Stored:
    """One object."""

    name: str
    body: bytes
    media_type: str
    cache_control: str
    id: str = field(default_factory=lambda: str(uuid4()))
    version: str = field(default_factory=lambda: str(uuid4()))
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'

    def headers(self) -> dict[str, str]:
        """What a download of it says."""
        return {
            "accept-ranges": "bytes",
            "content-type": self.media_type,
            "etag": self.etag,
            "x-robots-tag": "none",
            "last-modified": format_datetime(self.updated_at, usegmt=True),
            "cache-control": self.cache_control,
        }

    def row(self) -> dict[str, Any]:
        """Its row as a listing answers it."""
        return {
            "name": self.name,
            "id": self.id,
            "updated_at": stamp(self.updated_at),
            "created_at": stamp(self.created_at),
            "last_accessed_at": stamp(self.created_at),
            "metadata": {
                "eTag": self.etag,
                "size": len(self.body),
                "mimetype": self.media_type,
                "cacheControl": self.cache_control,
                "lastModified": stamp(self.updated_at),
                "contentLength": len(self.body),
                "httpStatusCode": 200,
            },
        }

    def info(self, bucket: str) -> dict[str, Any]:
        """What `info` answers."""
        return {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "bucket_id": bucket,
            "size": len(self.body),
            "content_type": self.media_type,
            "cache_control": self.cache_control,
            "etag": self.etag,
            "metadata": {},
            "last_modified": stamp(self.updated_at),
            "created_at": stamp(self.created_at),
        }


@dataclass
class Bucket:
    """One bucket and its objects."""

    id: str
    public: bool = False
    file_size_limit: int | None = None
    allowed_mime_types: list[str] | None = None
    objects: dict[str, Stored] = field(default_factory=dict)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.id,
            "owner": "",
            "public": self.public,
            "file_size_limit": self.file_size_limit,
            "allowed_mime_types": self.allowed_mime_types,
            "created_at": stamp(self.created_at),
            "updated_at": stamp(self.created_at),
        }

    def change(self, asked: Mapping[str, Any]) -> None:
        """Take over those of its settings that are named."""
        for name in {"public", "file_size_limit", "allowed_mime_types"} & asked.keys():
            setattr(self, name, asked[name])

    def refuse_type(self, media_type: str) -> None:
        """Refuse a type that is not one of those allowed; `image/*` allows every picture."""
        family = f"{media_type.partition('/')[0]}/*"
        if self.allowed_mime_types and not {media_type, family} & set(self.allowed_mime_types):
            raise Refused("InvalidMimeType", media_type)

    def list(self, folder: str, limit: int, offset: int) -> list[dict[str, Any]]:
        """One page of a folder, by name: its folders as rows without an id, its objects by their last name."""
        prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
        rows: dict[str, dict[str, Any]] = {}
        for name, stored in self.objects.items():
            if name.startswith(prefix):
                first, slash, _ = name.removeprefix(prefix).partition("/")
                bare = dict.fromkeys(("updated_at", "created_at", "last_accessed_at", "metadata"))
                rows[first] = {"name": first, "id": None} | bare if slash else stored.row() | {"name": first}
        return [rows[name] for name in sorted(rows)][offset : offset + limit]


class StorageState:
    """Everything this stand-in remembers: buckets, what it was asked, what shall go wrong.

    `tell("put", "http_503", "ok")`: the next put is answered 503, those after it as they should be. The
    operations are put, get, public, sign, sign_upload, put_signed, info, remove, list, bucket (its settings) and cdn (a
    purge).
    """

    def __init__(self) -> None:
        self.scenario_log = ScenarioLog()
        self.clear()

    def clear(self) -> None:
        """The buckets of the migrations, empty; nothing asked, nothing told."""
        self.scenario_log.clear()
        self.buckets = {
            "generated-images": Bucket("generated-images", True, 32 * MIB, list(PICTURES)),
            "memoji-images": Bucket("memoji-images", True, 5 * MIB, list(PICTURES)),
            "processed-images": Bucket("processed-images", False, 32 * MIB, [*PICTURES, "image/avif", "image/gif"]),
        }
        self.purged: list[str] = []  # what the CDN was told to forget, `bucket/path`
        self.has_cdn = True  # whether the project's plan has purges
        self.immovable: set[str] = set()  # what `remove` leaves where it is, and does not say so

    @property
    def asked(self) -> Counter[str]:
        """How often each operation was asked for."""
        return self.scenario_log.posts

    @property
    def tell(self) -> Any:
        return self.scenario_log.tell

    def put(self, bucket: str, name: str, body: bytes) -> None:
        """Store a picture past every rule."""
        self.buckets[bucket].objects[name] = Stored(name, body, "image/png", "max-age=31536000")

    def bucket(self, id_: str) -> Bucket:
        if id_ not in self.buckets:
            raise Refused("NoSuchBucket")
        return self.buckets[id_]

    def object(self, bucket: str, name: str) -> Stored:
        found = self.bucket(bucket).objects.get(name)
        if found is None:
            raise Refused("NoSuchKey")
        return found


def stamp(moment: datetime) -> str:
    """A time as JavaScript writes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
