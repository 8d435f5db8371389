"""CDNs that write down what they are told, and the parts that tell them."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from copperplate.operations.cdn_purges import CdnPurges
from copperplate.ports.cdns import CdnScope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from copperplate.ports import Cdn, CdnOutbox, ObjectStore
    from copperplate.ports.cdns import CdnCopies


class NotedCdn:
    """A CDN, and what it was told to forget; it raises `error` where that is set."""

    def __init__(self, scope: CdnScope = CdnScope.TAG, error: Exception | None = None) -> None:
        self.scope = scope
        self.error = error
        self.told: list[CdnCopies] = []

    async def forget(self, copies: CdnCopies) -> None:
        self.told.append(copies)
        if self.error is not None:
            raise self.error


def opening(cdn: Cdn) -> Callable[[], AbstractAsyncContextManager[Cdn]]:
    """How this one is opened."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Cdn]:
        yield cdn

    return opened


def cdn_purges(outbox: CdnOutbox, *cdns: Cdn, stores: Mapping[str, ObjectStore] = MappingProxyType({})) -> CdnPurges:
    """Of a process that has these CDNs."""

    opened = {cdn.scope: opening(cdn) for cdn in cdns}
    return CdnPurges(outbox, opened, copies_live=timedelta(hours=1), stores=stores)
