"""The ledger over functions of the database, whichever way they are called."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING
from uuid import uuid4

from copperplate.adapters.ledger.api_keys import ApiKeyCalls
from copperplate.adapters.ledger.budget_rows import spending_row, submit_result_of
from copperplate.adapters.ledger.budgets import BudgetCalls
from copperplate.adapters.ledger.cdn_purges import CdnPurgeCalls
from copperplate.adapters.ledger.credits import CreditCalls
from copperplate.adapters.ledger.feed import FeedCalls
from copperplate.adapters.ledger.kept_pictures import KeptPictureCalls
from copperplate.adapters.ledger.maintenance import MaintenanceCalls
from copperplate.adapters.ledger.rows import acquire_result_of, charge_row, entry_of, peek_result_of, upload_row
from copperplate.adapters.ledger.source_pictures import SourcePictureCalls
from copperplate.adapters.ledger.statistics import StatisticsCalls
from copperplate.adapters.ledger.takedowns import TakedownCalls
from copperplate.adapters.ledger.tier_reports import TierReportCalls
from copperplate.adapters.ledger.transport import Json
from copperplate.adapters.ledger.wishes import WishCalls
from copperplate.recipes.objects import original_key

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from uuid import UUID

    from copperplate.budgets import Charge, Spending, SubmitResult
    from copperplate.failure_classes import FailureClass
    from copperplate.ledger_answers import AcquireResult, PeekResult
    from copperplate.model import Entry, Failure, Job, OriginalUpload, PictureRequest, RenditionUpload, RequestCount


class SqlLedger(
    CreditCalls,
    ApiKeyCalls,
    BudgetCalls,
    StatisticsCalls,
    MaintenanceCalls,
    TakedownCalls,
    KeptPictureCalls,
    SourcePictureCalls,
    WishCalls,
    FeedCalls,
    CdnPurgeCalls,
    TierReportCalls,
):
    """Every port of the ledger over one transport, which it opens and closes."""

    async def open(self) -> None:
        """Start the transport; an unreachable database shows at the first call."""
        await self._transport.open()

    async def close(self) -> None:
        """Give back every connection of the transport."""
        await self._transport.close()

    async def acquire(
        self,
        request: PictureRequest,
        *,
        leader: UUID,
        lease_duration: timedelta,
        charges: Sequence[Charge] = (),
        breakers: Sequence[str] = (),
        spending: Spending | None = None,
    ) -> AcquireResult:
        """See `Ledger.acquire`."""
        arguments = {
            "p_recipe": Json(request.recipe),
            "p_generation_key": request.generation_key,
            "p_rendition_key": request.rendition_key,
            "p_leader": leader,
            "p_lease": lease_duration,
            "p_charges": Json([charge_row(charge) for charge in charges]),
            "p_services": list(breakers),
            "p_spending": None if spending is None else Json(spending_row(spending)),
        }
        return acquire_result_of(await self._transport.row("acquire_generation", arguments))

    async def peek(self, generation_key: str, rendition_key: str) -> PeekResult:
        """See `Ledger.peek`."""
        arguments = {"p_generation_key": generation_key, "p_rendition_key": rendition_key}
        return peek_result_of(await self._transport.row("peek_generation", arguments))

    async def begin_submit(
        self,
        key: str,
        fence: int,
        *,
        submit_no: int,
        provider: str,
        estimate_micro_usd: int | None = None,
        spending: Spending | None = None,
    ) -> SubmitResult:
        """See `Ledger.begin_submit`."""
        arguments = {
            "p_key": key,
            "p_fence": fence,
            "p_submit_no": submit_no,
            "p_provider": provider,
            "p_estimate_micro_usd": estimate_micro_usd,
            "p_spending": None if spending is None else Json(spending_row(spending)),
        }
        return submit_result_of(await self._transport.row("begin_submit", arguments))

    async def note_request(self, key: str, fence: int, job: Job) -> bool:
        """See `Ledger.note_request`."""
        arguments = {"p_key": key, "p_fence": fence, "p_request_id": job.request_id, "p_urls": Json(dict(job.urls))}
        return await self._transport.value("note_request", arguments, bool)

    async def begin_decode(self, key: str, fence: int, *, decode_no: int) -> bool:
        """See `Ledger.begin_decode`."""
        arguments = {"p_key": key, "p_fence": fence, "p_decode_no": decode_no}
        return await self._transport.value("begin_decode", arguments, bool)

    async def heartbeat(self, key: str, fence: int, lease_duration: timedelta) -> bool:
        """See `Ledger.heartbeat`."""
        arguments = {"p_key": key, "p_fence": fence, "p_lease": lease_duration}
        return await self._transport.value("heartbeat_generation", arguments, bool)

    async def intend_upload(
        self,
        key: str,
        fence: int,
        upload: OriginalUpload,
        *,
        usage: Mapping[str, int],
        cost_micro_usd: int | None = None,
        rendition_paths: Sequence[str] = (),
    ) -> bool:
        """See `Ledger.intend_upload`."""
        arguments = {
            "p_key": key,
            "p_fence": fence,
            "p_upload": Json(upload_row(upload)),
            "p_usage": Json(dict(usage)),
            "p_rendition_paths": list(rendition_paths),
            "p_cost_micro_usd": cost_micro_usd,
        }
        return await self._transport.value("intend_upload", arguments, bool)

    async def complete(
        self,
        key: str,
        fence: int,
        upload: OriginalUpload,
        *,
        url: str | None,
        renditions: Sequence[RenditionUpload] = (),
    ) -> Entry | None:
        """See `Ledger.complete`."""
        arguments = {
            "p_key": key,
            "p_fence": fence,
            "p_original_key": original_key(key),
            "p_upload": Json(upload_row(upload)),
            "p_url": url,
            "p_renditions": Json([upload_row(each) for each in renditions]),
        }
        return entry_of(await self._transport.row("complete_generation", arguments))

    async def fail(self, key: str, fence: int, failure: Failure) -> bool:
        """See `Ledger.fail`."""
        arguments = {
            "p_key": key,
            "p_fence": fence,
            "p_error_class": failure.failure_class.value,
            "p_error_message": failure.message,
            "p_retry_after": failure.retry_after,
            "p_billed": failure.billed,
            "p_usage": Json(dict(failure.usage)),
            "p_cost_micro_usd": failure.cost_micro_usd,
        }
        return await self._transport.value("fail_generation", arguments, bool)

    async def report_refusal(self, name: str, failure_class: FailureClass, reason: str, rest: timedelta) -> bool:
        """See `Ledger.report_refusal`."""
        arguments = {"p_name": name, "p_error_class": failure_class.value, "p_reason": reason, "p_rest": rest}
        return await self._transport.value("report_refusal", arguments, bool)

    async def intend_rendition(self, original: Entry, upload: RenditionUpload) -> bool:
        """See `Ledger.intend_rendition`."""
        arguments = {
            "p_generation_key": original.generation_key,
            "p_original_path": original.path,
            "p_path": upload.path,
            "p_key": upload.key,
            "p_is_sized": upload.is_sized,
        }
        return await self._transport.value("intend_rendition", arguments, bool)

    async def record_rendition(self, original: Entry, upload: RenditionUpload) -> Entry | None:
        """See `Ledger.record_rendition`."""
        arguments = {
            "p_generation_key": original.generation_key,
            "p_original_path": original.path,
            "p_upload": Json(upload_row(upload)),
        }
        return entry_of(await self._transport.row("record_rendition", arguments))

    async def report_missing(self, entry: Entry) -> bool:
        """See `Ledger.report_missing`."""
        return await self._transport.value("report_missing", {"p_key": entry.key, "p_path": entry.path}, bool)

    async def record_usage(self, counts: Sequence[RequestCount], *, batch: UUID | None = None) -> bool:
        """See `Ledger.record_usage`."""
        arguments = {"p_uses": Json([asdict(use) for use in counts]), "p_batch": batch or uuid4()}
        return await self._transport.value("record_usage", arguments, bool)

    def hints(self, key: str) -> AbstractContextManager[asyncio.Event]:
        """See `Ledger.hints`."""
        return self._transport.hints.watch(key)
