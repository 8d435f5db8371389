"""A client that takes long to import: it is loaded and made with its first call."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable


class Closable(Protocol):
    """What holds connections."""

    async def close(self) -> None:
        """Close the connections."""


C = TypeVar("C", bound=Closable)


class LazyClient(Generic[C]):
    """One client, made by `make` from the module of that name."""

    def __init__(self, module: str, make: Callable[[Any], C]) -> None:
        self._module = module
        self._make = make
        self._client: C | None = None

    async def get(self) -> C:
        """The client, made by the first who asks."""
        if self._client is None:
            # In a thread: leases of this process are renewed meanwhile, and hits answered.
            module = await asyncio.to_thread(importlib.import_module, self._module)
            self._client = self._client or self._make(module)
        return self._client

    async def close(self) -> None:
        """Close the client; the next call makes another."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()
