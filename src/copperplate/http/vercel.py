"""In a Vercel function: work that must end before the process may freeze (for its end see `graceful_shutdown`).

An invocation is over for Vercel's runtime once the ASGI call returns; from then on the process may be
frozen until the next request. Work that an answer leaves behind therefore keeps its call open, after
the answer was sent. Nothing here runs elsewhere: a server that is not on Vercel keeps its process.
"""

from __future__ import annotations

import logging
import math
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from copperplate.errors import CopperplateError
from copperplate.single_flight import call_scope
from copperplate.unexpected import log_unexpected

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from copperplate.http.wiring import Wiring
    from copperplate.services import Services
    from copperplate.single_flight import Call

logger = logging.getLogger(__name__)

# A response of more than 4.5 MB fails; the caller of a larger picture is redirected to the object store.
MAX_RESPONSE_BYTES: Final = 4_000_000
# The platform itself answers 413 to a request of more than 4.5 MB, headers and the rest of a form included.
MAX_FILE_BYTES: Final = 4_400_000
# As in vercel.json; the runtime tells the true deadline of an invocation where it knows one.
MAX_SECONDS: Final = 300.0
# Reserved at the end of an invocation, to give leases up and flush counts.
MARGIN_SECONDS: Final = 10.0
# A work step ends so long before that, and begins only with as much time again.
WORK_MARGIN_SECONDS: Final = 5.0
MIN_WORK_SECONDS: Final = 10.0
# One instance begins a step no more often than this.
WORK_PAUSE_SECONDS: Final = 5.0


class Invocation:
    """ASGI: keeps the call open until the work that its answer left behind is done, or the deadline is near.

    A call whose last write was told that promised pictures are due makes some of them.
    """

    def __init__(self, app: ASGIApp, wiring: Wiring) -> None:
        self._app = app
        self._wiring = wiring
        self._worked_at = -math.inf

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, then finish what it began."""
        services = self._wiring.require()
        stop_at = services.clock.monotonic() + seconds_left()
        with call_scope() as call:
            try:
                await self._app(scope, receive, send)
            finally:
                await services.finish(call, within_seconds=max(0.0, stop_at - services.clock.monotonic()))
                await self._work(services, call, stop_at)

    async def _work(self, services: Services, call: Call, stop_at: float) -> None:
        """Make some of what was promised, where there is any and time for it; then finish this call once more."""
        now = services.clock.monotonic()
        within_seconds = stop_at - WORK_MARGIN_SECONDS - now
        is_early = now < self._worked_at + WORK_PAUSE_SECONDS
        if not services.work.is_due or is_early or within_seconds < MIN_WORK_SECONDS:
            return
        self._worked_at = now
        most = services.settings.work_items
        try:
            report = await services.work.run(within_seconds=within_seconds, at_most=most)
            is_more_due = report.taken >= most or report.put_back > 0
        except CopperplateError as error:
            is_more_due = True
            logger.warning("promised pictures wait for the next call: %s", error.code)
        except Exception as error:  # noqa: BLE001 - the answer was sent, and the call has an end to come to
            is_more_due = True
            log_unexpected(error, "work at the end of a call")
        if is_more_due:
            services.work.note_due()
        await services.finish(call, within_seconds=max(0.0, stop_at - services.clock.monotonic()))


def work_seconds_left() -> float:
    """The time that a work step of this invocation may take: 15 seconds less than the invocation has."""
    return seconds_left() - WORK_MARGIN_SECONDS


def seconds_left() -> float:
    """The time left to this invocation, less `MARGIN_SECONDS`."""
    runtime = sys.modules.get("vercel_runtime")  # there already, or this is not Vercel
    deadline: datetime | None = runtime.get_deadline() if runtime else None
    left = MAX_SECONDS if deadline is None else (deadline - datetime.now(UTC)).total_seconds()
    return left - MARGIN_SECONDS
