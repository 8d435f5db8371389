"""fal's queue on the wire: one POST of our own, everything repeatable through fal-client."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, cast

import httpx
from fal_client import AsyncRequestHandle, Completed, FalClientHTTPError

from copperplate.adapters.counted import PLAIN, CountedStream, Unreadable, check_plain
from copperplate.adapters.fal.addresses import Addresses
from copperplate.adapters.fal.faults import failed_poll, no_answer, refused_submit
from copperplate.adapters.fal.files import FILE_SECONDS, Files
from copperplate.errors import ProviderFailed, StillGenerating, reporting
from copperplate.model import FailureClass, Job, Made

if TYPE_CHECKING:
    from copperplate.ports import Clock

SUBMIT_SECONDS: Final = 30.0
# Receipts, statuses and results hold addresses, not pictures.
ANSWER_BYTES: Final = 1024 * 1024
POLL_FACTOR: Final = 1.5
POLL_MAX_SECONDS: Final = 1.0
URLS: Final = ("status_url", "response_url", "cancel_url")
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
    # The picture is copied at once; a day leaves room for whoever resumes.
    "X-Fal-Object-Lifecycle-Preference": '{"expiration_duration_seconds": 86400}',
}


class _Counted(CountedStream, httpx.AsyncByteStream):
    """As httpx wants it."""


class Queue:
    """fal's queue for one key. Belongs to the event loop it is first used in."""

    def __init__(self, *, key: str, url: str, clock: Clock, seconds: float, poll_first_seconds: float) -> None:
        self._key = key
        self._url = url
        self._clock = clock
        self._seconds = seconds
        self._poll_first_seconds = poll_first_seconds
        self._addresses = Addresses(queue_url=url)
        tls = httpx.create_ssl_context()  # costs 20 ms each time, so both clients share it
        self._files = Files(self._addresses, clock, tls, seconds=min(seconds, FILE_SECONDS))
        self._units: OrderedDict[str, int] = OrderedDict()
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Key {key}", **PLAIN},
            verify=tls,
            timeout=httpx.Timeout(SUBMIT_SECONDS, connect=5),
            event_hooks={"response": [_count, self._note_units]},
        )

    async def submit(self, model: str, arguments: dict[str, Any]) -> Job:
        """One POST, never repeated and never redirected. Raises `ProviderFailed`."""
        try:
            async with asyncio.timeout(SUBMIT_SECONDS):
                response = await self._http.post(f"{self._url}/{model}", json=arguments, headers=SUBMIT_HEADERS)
        except httpx.HTTPError as error:
            raise no_answer(error) from error
        except Unreadable as error:
            raise _lost(f"the submit was answered, but {error}") from error
        except TimeoutError as error:
            raise _lost(f"the submit was sent and not answered within {SUBMIT_SECONDS} s") from error
        if not response.is_success:
            raise refused_submit(response, now=self._clock.now(), secrets=(self._key,))
        return self._receipt(response)

    async def collect(self, job: Job) -> Made:
        """The picture of a job, with the units fal says it bills. Raises `ProviderFailed`, `StillGenerating`."""
        urls = {name: str(self._addresses.of_job(job.urls.get(name))) for name in URLS}
        handle = AsyncRequestHandle(request_id=job.request_id, client=self._http, **urls)
        try:
            async with asyncio.timeout(self._seconds):
                result = await self._result(handle)
        except TimeoutError:
            raise StillGenerating from None  # the id is noted: whoever asks later collects
        units = self._units.pop(urls["response_url"], None)
        usage = {} if units is None else {"micro_units": units}
        with reporting(usage):
            return Made(body=await self._files.fetch(picture_url(result)), usage=usage)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._files.close()

    async def _result(self, handle: AsyncRequestHandle) -> object:
        done = None
        try:
            done = await self._wait(handle)
            result: object = await handle.get()  # asks for the status once more, as fal-client does
        except FalClientHTTPError as error:
            raise failed_poll(error.response, is_done=done is not None, now=self._clock.now()) from error
        except httpx.HTTPError as error:
            raise StillGenerating from error  # nothing was learnt about the job
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"fal's answer about the job cannot be read: {type(error).__name__}"
            raise ProviderFailed(FailureClass.BAD_OUTPUT, message) from error
        if done.error is not None:
            message = f"the job failed: {done.error_type}: {done.error}"[:300]
            raise ProviderFailed(FailureClass.TRANSIENT, message, billed=False)
        return result

    async def _wait(self, handle: AsyncRequestHandle) -> Completed:
        delay = self._poll_first_seconds
        while not isinstance(status := await handle.status(), Completed):
            await self._clock.sleep(delay)
            delay = min(delay * POLL_FACTOR, POLL_MAX_SECONDS)
        return status

    def _receipt(self, response: httpx.Response) -> Job:
        """The job as fal named it. A receipt that cannot be followed is as good as lost."""
        try:
            receipt = response.json()
            urls = {name: str(receipt[name]) for name in URLS}
            for url in urls.values():
                self._addresses.of_job(url)
            request_id = receipt["request_id"]
        except (ValueError, KeyError, TypeError, ProviderFailed) as error:
            raise _lost(f"the submit was taken, its receipt cannot be used: {type(error).__name__}") from error
        if not isinstance(request_id, str) or not 0 < len(request_id) <= 200:
            raise _lost("the submit was taken, its receipt names no job")
        return Job(request_id=request_id, urls=urls)

    async def _note_units(self, response: httpx.Response) -> None:
        # fal-client throws headers away; here is where they pass by.
        if response.is_success and (units := parse_units(response.headers.get(UNITS_HEADER))) is not None:
            self._units[str(response.url)] = units
            if len(self._units) > 1_000:
                self._units.popitem(last=False)


async def _count(response: httpx.Response) -> None:
    check_plain(response.headers)
    response.stream = _Counted(cast("httpx.AsyncByteStream", response.stream), ANSWER_BYTES)


def picture_url(result: object) -> object:
    """The address of the one picture in a result. Raises `ProviderFailed` for flagged or other than one."""
    if not isinstance(result, dict):
        raise ProviderFailed(FailureClass.BAD_OUTPUT, "fal's result is not an object")
    flags = result.get("has_nsfw_concepts")
    if any(flags) if isinstance(flags, list) else flags:
        # What is served then is a black image, at the price of a real one.
        raise ProviderFailed(FailureClass.MODERATED, "fal flagged the picture as not safe for work")
    images = result.get("images")
    if not isinstance(images, list) or len(images) != 1 or not isinstance(images[0], dict):
        found = f"{len(images)} pictures" if isinstance(images, list) else "no pictures"
        raise ProviderFailed(FailureClass.BAD_OUTPUT, f"fal's result has {found} where one was asked for")
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
