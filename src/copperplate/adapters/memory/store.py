"""An object store in memory, for the tests of those who build on Copperplate."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from copperplate.adapters.object_paths import SECRET_BYTES, check_body, check_object_path
from copperplate.adapters.system_clock import SystemClock
from copperplate.errors import ObjectConflict, ObjectMissing
from copperplate.model import Page, StoredObject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from copperplate.model import Needs, UploadAddress
    from copperplate.ports import Clock


class MemoryStore:
    """Keeps the promises of `ObjectStore` until the process ends; nothing is durable."""

    def __init__(self, bucket: str, clock: Clock | None = None) -> None:
        self.bucket = bucket
        self._clock = clock or SystemClock()
        self._stored_at: dict[str, datetime] = {}
        self._objects: dict[str, bytes] = {}
        self._secret = secrets.token_bytes(SECRET_BYTES)

    async def check(self, needs: Needs) -> None:
        """Nothing is in the way."""

    async def check_addresses(self) -> None:
        """There are none."""

    async def put(self, path: str, body: bytes, *, media_type: str) -> None:
        """Store `body`; raises `ObjectConflict` if other bytes are there, ValueError for a bad name or no bytes."""
        kept = self._objects.setdefault(check_object_path(path), bytes(check_body(body)))
        self._stored_at.setdefault(path, self._clock.now())
        if kept != body:
            message = f"{self.bucket}/{path} holds other bytes"
            raise ObjectConflict(message)

    async def get(self, path: str) -> bytes:
        """The whole object; raises `ObjectMissing`, or ValueError for a bad name."""
        try:
            return self._objects[check_object_path(path)]
        except KeyError:
            message = f"{self.bucket} has no object {path}"
            raise ObjectMissing(message) from None

    async def exists(self, path: str) -> bool:
        """Whether it is there; ValueError for a bad name."""
        return check_object_path(path) in self._objects

    async def remove(self, paths: Sequence[str]) -> frozenset[str]:
        """Remove objects; answers all of `paths`, for all of them are gone. ValueError for a bad name."""
        for path in [check_object_path(path) for path in paths]:
            self._objects.pop(path, None)
            self._stored_at.pop(path, None)
        return frozenset(paths)

    async def months(self) -> Sequence[str]:
        """The folders that hold objects, in order."""
        return sorted({path.rpartition("/")[0] for path in self._objects})

    async def list_month(self, month: str, *, offset: int, limit: int) -> Page:
        """Objects of a folder, by name."""
        paths = sorted(path for path in self._objects if path.startswith(f"{month}/"))
        shown = [StoredObject(path=path, stored_at=self._stored_at[path]) for path in paths[offset : offset + limit]]
        return Page(objects=shown, next_offset=offset + limit if offset + limit < len(paths) else None)

    def public_url(self, path: str) -> str | None:
        """None: memory has no address."""
        check_object_path(path)
        return None

    async def signed_url(self, path: str, *, valid_for: timedelta) -> str | None:
        """None: memory has no address."""
        check_object_path(path)
        return None

    async def is_open(self) -> bool:
        """False: it answers nobody by itself."""
        return False

    async def upload_address(self, path: str, *, media_type: str) -> UploadAddress | None:
        """None: memory has no address."""
        check_object_path(path)
        return None

    async def address_secret(self) -> bytes:
        """Random, as long as the store lives."""
        return self._secret
