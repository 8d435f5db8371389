"""What fal's providers share: the queue, loaded with the first submit, and collecting from it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Required, TypedDict

from copperplate.adapters.fal.hosts import QUEUE_URL
from copperplate.adapters.lazy_client import LazyClient

if TYPE_CHECKING:
    from typing import Unpack

    from copperplate.adapters.fal.queue import Queue
    from copperplate.model import Job, ProviderResult
    from copperplate.ports import Clock


class QueueOptions(TypedDict, total=False):
    """Settings of the queue. `seconds` bounds one wait for a job; past it, the job is left to be resumed.

    `retry_seconds` is how long a completed job whose picture cannot be had is asked again in one wait; `retention` how
    long fal is told to keep its picture; `result_hosts` are hosts of pictures beside fal's own.
    """

    key: Required[str]
    clock: Required[Clock]
    queue_url: str
    seconds: float
    poll_first_seconds: float
    retry_seconds: float
    retention: timedelta
    result_hosts: tuple[str, ...]


class OverQueue:
    """A provider whose jobs are in fal's queue."""

    name = "fal"
    is_billable = True

    def __init__(self, **options: Unpack[QueueOptions]) -> None:
        self._queue: LazyClient[Queue] = LazyClient(
            "copperplate.adapters.fal.queue",
            lambda module: module.Queue(
                key=options["key"],
                url=options.get("queue_url", QUEUE_URL),
                clock=options["clock"],
                seconds=options.get("seconds", 120),
                poll_first_seconds=options.get("poll_first_seconds", 0.25),
                retry_seconds=options.get("retry_seconds", 15),
                retention=options.get("retention", timedelta(days=1)),
                result_hosts=options.get("result_hosts", ()),
            ),
        )

    async def collect(self, job: Job) -> ProviderResult:
        """Wait for the job and fetch its picture; see `Provider.collect`."""
        queue = await self._queue.get()
        return await queue.collect(job)

    async def close(self) -> None:
        """Close the connections."""
        await self._queue.close()
