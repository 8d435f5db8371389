"""fal's queue on the wire: one POST of our own, everything repeatable through fal-client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections import OrderedDict
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
from fal_client import AsyncRequestHandle, Completed, FalClientHTTPError

from copperplate.adapters.bounded_stream import PLAIN, Unreadable
from copperplate.adapters.certificates import authorities
from copperplate.adapters.fal.addresses import Addresses
from copperplate.adapters.fal.counted import count
from copperplate.adapters.fal.faults import no_answer, refused_submit
from copperplate.adapters.fal.files import FILE_SECONDS, Files
from copperplate.adapters.fal.jobs import Asked, Trouble, failed, refused
from copperplate.adapters.fal.receipts import read_receipt
from copperplate.errors import ProviderFailed, Uncollected, reporting
from copperplate.failure_classes import FailureClass
from copperplate.model import Job, ProviderResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import timedelta

    from copperplate.ports import Clock

T = TypeVar("T")

SUBMIT_SECONDS: Final = 30.0
POLL_FACTOR: Final = 1.5
POLL_MAX_SECONDS: Final = 1.0
RETRY_FIRST_SECONDS: Final = 0.2
RETRY_MAX_SECONDS: Final = 4.0
URLS: Final = ("status_url", "response_url")
UNITS_HEADER: Final = "x-fal-billable-units"
# More than this is no bill of one picture.
MAX_UNITS: Final = 1_000_000

SUBMIT_HEADERS: Final = {
    # Repeating is ours to decide: fal's own ten tries would hide how often the model ran.
    "X-Fal-No-Retry": "1",
    # A cache that names its model must not be given another one's picture.
    "x-app-fal-disable-fallback": "true",
    # Dropped, unbilled, if nobody could start it in this time; past ten minutes we give a generation up ourselves.
    "X-Fal-Request-Timeout": "600",
}


class Queue:
    """fal's queue for one key. Belongs to the event loop it is first used in."""

    def __init__(  # noqa: PLR0913 - settings, each by its name
        self,
        *,
        key: str,
        url: str,
        clock: Clock,
        seconds: float,
        poll_first_seconds: float,
        retry_seconds: float,
        retention: timedelta,
        result_hosts: tuple[str, ...],
    ) -> None:
        self._key = key
        self._url = url
        self._retry_seconds = retry_seconds
        # The picture is copied at once; what fal keeps is for whoever resumes.
        keep = json.dumps({"expiration_duration_seconds": math.ceil(retention.total_seconds())})
        self._submit_headers = {**SUBMIT_HEADERS, "X-Fal-Object-Lifecycle-Preference": keep}
        self._clock = clock
        self._seconds = seconds
        self._poll_first_seconds = poll_first_seconds
        self._addresses = Addresses(queue_url=url, result_hosts=result_hosts)
        tls = authorities()
        self._files = Files(self._addresses, tls, seconds=min(seconds, FILE_SECONDS))
        self._units: OrderedDict[str, int] = OrderedDict()
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Key {key}", **PLAIN},
            verify=tls,
            timeout=httpx.Timeout(SUBMIT_SECONDS, connect=5),
            event_hooks={"response": [count, self._note_units]},
        )

    async def submit(self, model: str, arguments: dict[str, Any]) -> Job:
        """One POST, never repeated and never redirected. Raises `ProviderFailed`."""
        try:
            async with asyncio.timeout(SUBMIT_SECONDS):
                response = await self._http.post(f"{self._url}/{model}", json=arguments, headers=self._submit_headers)
        except httpx.HTTPError as error:
            raise no_answer(error) from error
        except Unreadable as error:
            raise _lost(f"the submit was answered, but {error}") from error
        except TimeoutError as error:
            raise _lost(f"the submit was sent and not answered within {SUBMIT_SECONDS} s") from error
        if not response.is_success:
            raise refused_submit(response, now=self._clock.now(), secrets=(self._key,))
        return read_receipt(response, queue_url=self._url, model=model, addresses=self._addresses)

    async def collect(self, job: Job) -> ProviderResult:
        """The picture of a job, with the units fal says it bills. Raises `ProviderFailed`, `Uncollected`."""
        try:
            status_url, response_url = (str(self._addresses.of_job(job.urls.get(name))) for name in URLS)
            # fal-client wants an address to cancel at; nothing here calls it.
            handle = AsyncRequestHandle(job.request_id, response_url, status_url, f"{response_url}/cancel", self._http)
            async with asyncio.timeout(self._seconds):
                done = await self._wait(handle)
                return await self._persist(lambda: self._fetch(handle, done))
        except TimeoutError:
            raise Uncollected(f"the job was not done within {self._seconds} s") from None

    async def _persist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What `ask` answers, asked again over seconds: statuses, results and files may appear a little late."""
        give_up_at, pause = self._clock.monotonic() + self._retry_seconds, RETRY_FIRST_SECONDS
        while True:
            try:
                return await ask()
            except Trouble:
                if self._clock.monotonic() + pause > give_up_at:
                    raise
            await self._clock.sleep(pause)
            pause = min(2 * pause, RETRY_MAX_SECONDS)

    async def _fetch(self, handle: AsyncRequestHandle, done: Completed) -> ProviderResult:
        result = await self._result(handle, done)
        units = self._units.pop(handle.response_url, None)
        usage = {} if units is None else {"micro_units": units}
        with reporting(usage):
            return ProviderResult(body=await self._files.fetch(picture_url(result)), usage=usage)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._files.close()

    async def _wait(self, handle: AsyncRequestHandle) -> Completed:
        delay = self._poll_first_seconds
        while not isinstance(
            status := await self._persist(lambda: self._ask(Asked.STATUS, handle.status())), Completed
        ):
            await self._clock.sleep(delay)
            delay = min(delay * POLL_FACTOR, POLL_MAX_SECONDS)
        return status

    async def _result(self, handle: AsyncRequestHandle, done: Completed) -> object:
        if done.error is None:
            return await self._ask(Asked.RESULT, handle.get())  # asks for the status once more, as fal-client does
        # The status alone decides; its result may say more of what failed.
        with contextlib.suppress(Uncollected):
            await self._ask(Asked.FAILED_RESULT, handle.get())
        raise failed(done)

    async def _ask(self, asked: Asked, answering: Awaitable[T]) -> T:
        """What fal answers about a job. Raises `ProviderFailed` where that says it failed, else `Uncollected`."""
        try:
            return await answering
        except FalClientHTTPError as error:
            raise refused(asked, error.response, now=self._clock.now()) from error
        except httpx.HTTPError as error:
            raise Trouble(f"nothing was learnt about the job: {type(error).__name__}") from error
        except (ValueError, KeyError, TypeError, AttributeError, Unreadable) as error:
            raise Trouble(f"fal's {asked} cannot be read: {type(error).__name__}") from error

    async def _note_units(self, response: httpx.Response) -> None:
        # fal-client throws headers away; here is where they pass by.
        if response.is_success and (units := parse_units(response.headers.get(UNITS_HEADER))) is not None:
            self._units[str(response.url)] = units
            if len(self._units) > 1_000:
                self._units.popitem(last=False)


def picture_url(result: object) -> object:
    """The address of the one picture in a result, in either form fal's models have.

    Raises `ProviderFailed` for a flagged picture or several, and `Trouble` for none: the picture may appear yet.
    """
    if not isinstance(result, dict):
        raise Trouble("fal's result is not an object")
    flags = result.get("has_nsfw_concepts")
    if any(flags) if isinstance(flags, list) else flags:
        # What is served then is a black image, at the price of a real one.
        raise ProviderFailed(FailureClass.MODERATED, "fal flagged the picture as not safe for work")
    images = result.get("images")
    if images is None and "image" in result:
        images = [result["image"]]
    if isinstance(images, list) and len(images) > 1:
        raise ProviderFailed(FailureClass.BAD_OUTPUT, f"fal's result has {len(images)} pictures, not one")
    if not isinstance(images, list) or not images or not isinstance(images[0], dict):
        raise Trouble("fal's result has no picture")
    return images[0].get("url")


def parse_units(value: str | None) -> int | None:
    """Units in a header, in millionths of one, rounded up; None where it says no amount that can be so.

    fal counts in decimals, such as 1.5 megapixels. Millionths are exact for six of them, as prices are.
    """
    try:
        units = Decimal((value or "").strip())
    except InvalidOperation:
        return None
    if not units.is_finite() or not 0 <= units <= MAX_UNITS:
        return None
    return int((units * 1_000_000).to_integral_value(ROUND_CEILING))


def _lost(message: str) -> ProviderFailed:
    return ProviderFailed(FailureClass.AMBIGUOUS, message)
