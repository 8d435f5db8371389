"""Where the bytes of pictures are, and where copies of them may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from copperplate.model import Needs, Page, UploadAddress


class ObjectStore(Protocol):
    """Immutable objects in one bucket. A path is written once and never changed."""

    bucket: str

    async def check(self, needs: Needs) -> None:
        """Whether such an object would be taken now: asked before money is spent, and cheap where it took one lately.

        Raises `StoreUnavailable`, `StoreMisconfigured`.
        """

    async def check_addresses(self) -> None:
        """Raises `StoreMisconfigured` where `public_url` answers addresses that nobody can open, `StoreUnavailable`."""

    async def put(self, path: str, body: bytes, *, media_type: str) -> None:
        """Store `body` durably before returning.

        The same bytes at the same path again is success. Raises `ObjectConflict` where other bytes
        were stored before, `StoreUnavailable` when it is unknown whether anything was stored,
        `StoreMisconfigured` when a setting is at fault and nothing was.
        """

    async def get(self, path: str) -> bytes:
        """The whole object. Raises `ObjectMissing`, `StoreUnavailable`, `StoreMisconfigured`.

        Missing is only what the store says so of to a caller who would see it: what is hidden is misconfigured.
        """

    async def exists(self, path: str) -> bool:
        """Whether an object is there, without its bytes. Raises `StoreUnavailable`, `StoreMisconfigured`."""

    async def remove(self, paths: Sequence[str]) -> frozenset[str]:
        """Remove objects; answers the paths that are certainly gone now (absent ones included)."""

    async def months(self) -> Sequence[str]:
        """The folders `YYYY/MM` that hold objects, in order; raises `StoreUnavailable`, `StoreMisconfigured`."""

    async def list_month(self, month: str, *, offset: int, limit: int) -> Page:
        """At most `limit` objects of a folder, by name, from the `offset`-th on; what is no object of ours is counted.

        Raises `StoreUnavailable`, `StoreMisconfigured`.
        """

    def public_url(self, path: str) -> str | None:
        """Where anyone can load the object, or None where the store has no public address, or is a private one."""

    async def signed_url(self, path: str, *, valid_for: timedelta) -> str | None:
        """Where anyone who has this address can load the object for so long; None where the store has no addresses.

        Raises `ObjectMissing` where the store looks and finds none, `StoreUnavailable`, `StoreMisconfigured`.
        """

    async def is_open(self) -> bool:
        """Whether the store itself gives an object to anybody who knows its name.

        Raises `StoreUnavailable`, `StoreMisconfigured`.
        """

    async def upload_address(self, path: str, *, media_type: str) -> UploadAddress | None:
        """Where anyone who has this address can store one object at that path, once; None where it has no addresses.

        The bucket's own limits of size and type hold for it. Raises `StoreUnavailable`, `StoreMisconfigured`.
        """

    async def address_secret(self) -> bytes:
        """What addresses and names of objects are signed with here: 32 bytes, the same for every process, and no other.

        Raises `StoreUnavailable`.
        """
