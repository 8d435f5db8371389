"""The ledger over PostgREST, the data API of Supabase."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from copperplate.adapters.credit_calls import CreditCalls
from copperplate.adapters.postgrest_calls import Calls
from copperplate.adapters.verdicts import charge_row, entry_of, sight_of, verdict_of
from copperplate.hints import Hints
from copperplate.model import Upload
from copperplate.recipes.image import original_key

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from uuid import UUID

    import httpx

    from copperplate.adapters.credit_calls import CreditFunction
    from copperplate.model import (
        Charge,
        Condition,
        Entry,
        Failure,
        FailureClass,
        Job,
        RenditionUpload,
        Sight,
        Use,
        Verdict,
        Want,
    )

# PostgREST shows at most `max_rows` rows of an answer (1,000 unless a project lowers it) and drops the rest, which
# would then stay claimed.
PAGE_ROWS: Final = 100


class PostgrestLedger(CreditCalls):
    """`Ledger`, `LedgerCare`, `CreditLedger` over HTTP. Followers poll: nothing tells this process what has changed.

    `url` is the data API's address, for a Supabase project its own with `/rest/v1`; `key` is a secret key or
    the legacy service_role key. The client stays its owner's to close.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, key: str) -> None:
        self._calls = Calls(client, url, key)
        self._hints = Hints()

    # --- Ledger ---------------------------------------------------------------------------------

    async def acquire(
        self,
        want: Want,
        *,
        leader: UUID,
        lease: timedelta,
        may_lead: bool = True,
        charges: Sequence[Charge] = (),
        services: Sequence[str] = (),
    ) -> Verdict:
        """See `Ledger.acquire`."""
        row = await self._row(
            "acquire_generation",
            p_recipe=want.recipe,
            p_generation_key=want.generation_key,
            p_rendition_key=want.rendition_key,
            p_leader=leader,
            p_lease=lease,
            p_may_lead=may_lead,
            p_charges=[charge_row(charge) for charge in charges],
            p_services=list(services),
        )
        return verdict_of(row)

    async def peek(self, generation_key: str, rendition_key: str) -> Sight:
        """See `Ledger.peek`."""
        row = await self._row("peek_generation", p_generation_key=generation_key, p_rendition_key=rendition_key)
        return sight_of(row)

    async def begin_submit(
        self, key: str, fence: int, *, submit_no: int, provider: str, estimate_micro_usd: int | None = None
    ) -> bool:
        """See `Ledger.begin_submit`."""
        return await self._ask(
            "begin_submit",
            p_key=key,
            p_fence=fence,
            p_submit_no=submit_no,
            p_provider=provider,
            p_estimate_micro_usd=estimate_micro_usd,
        )

    async def note_request(self, key: str, fence: int, job: Job) -> bool:
        """See `Ledger.note_request`."""
        return await self._ask(
            "note_request", p_key=key, p_fence=fence, p_request_id=job.request_id, p_urls=dict(job.urls)
        )

    async def begin_decode(self, key: str, fence: int, *, decode_no: int) -> bool:
        """See `Ledger.begin_decode`."""
        return await self._ask("begin_decode", p_key=key, p_fence=fence, p_decode_no=decode_no)

    async def heartbeat(self, key: str, fence: int, lease: timedelta) -> bool:
        """See `Ledger.heartbeat`."""
        return await self._ask("heartbeat_generation", p_key=key, p_fence=fence, p_lease=lease)

    async def intend_upload(
        self,
        key: str,
        fence: int,
        upload: Upload,
        *,
        usage: Mapping[str, int],
        cost_micro_usd: int | None = None,
        rendition: RenditionUpload | None = None,
    ) -> bool:
        """See `Ledger.intend_upload`."""
        return await self._ask(
            "intend_upload",
            p_key=key,
            p_fence=fence,
            **_columns(upload),
            p_usage=dict(usage),
            p_rendition_path=rendition.path if rendition else None,
            p_cost_micro_usd=cost_micro_usd,
        )

    async def complete(
        self, key: str, fence: int, upload: Upload, *, url: str | None, rendition: RenditionUpload | None = None
    ) -> Entry | None:
        """See `Ledger.complete`."""
        row = await self._row(
            "complete_generation",
            p_key=key,
            p_fence=fence,
            p_original_key=original_key(key),
            **_columns(upload),
            p_url=url,
            p_rendition=asdict(rendition) if rendition else None,
        )
        return entry_of(row)

    async def fail(self, key: str, fence: int, failure: Failure) -> bool:
        """See `Ledger.fail`."""
        return await self._ask(
            "fail_generation",
            p_key=key,
            p_fence=fence,
            p_error_class=failure.failure_class.value,
            p_error_message=failure.message,
            p_retry_after=failure.retry_after,
            p_billed=failure.billed,
            p_usage=dict(failure.usage),
            p_cost_micro_usd=failure.cost_micro_usd,
        )

    async def report_refusal(self, name: str, failure_class: FailureClass, reason: str, rest: timedelta) -> bool:
        """See `Ledger.report_refusal`."""
        return await self._ask(
            "report_refusal", p_name=name, p_error_class=failure_class.value, p_reason=reason, p_rest=rest
        )

    async def report_success(self, name: str) -> None:
        """See `Ledger.report_success`."""
        await self._calls.call("report_success", {"p_name": name}, object)

    async def intend_rendition(self, original: Entry, upload: Upload) -> bool:
        """See `Ledger.intend_rendition`."""
        return await self._ask(
            "intend_rendition",
            p_generation_key=original.generation_key,
            p_original_path=original.path,
            p_path=upload.path,
        )

    async def record_rendition(self, original: Entry, rendition_key: str, upload: Upload) -> Entry | None:
        """See `Ledger.record_rendition`."""
        row = await self._row(
            "record_rendition",
            p_generation_key=original.generation_key,
            p_original_path=original.path,
            p_key=rendition_key,
            **_columns(upload),
        )
        return entry_of(row)

    async def report_missing(self, entry: Entry) -> bool:
        """See `Ledger.report_missing`."""
        return await self._ask("report_missing", p_key=entry.key, p_path=entry.path)

    async def record_usage(self, uses: Sequence[Use], *, batch: UUID | None = None) -> None:
        """See `Ledger.record_usage`."""
        arguments = {"p_uses": [asdict(use) for use in uses], "p_batch": batch or uuid4()}
        await self._calls.call("record_usage", arguments, object)

    def hints(self, key: str) -> AbstractContextManager[asyncio.Event]:
        """See `Ledger.hints`; this one is never set."""
        return self._hints.watch(key)

    # --- LedgerCare -----------------------------------------------------------------------------

    async def generation_stats(self) -> Mapping[str, Any]:
        """See `LedgerCare.generation_stats`."""
        return (await self._rows("get_generation_stats"))[0]

    async def cache_stats(self) -> Mapping[str, Any]:
        """See `LedgerCare.cache_stats`."""
        return (await self._rows("get_cache_stats"))[0]

    async def savings(self) -> Sequence[Mapping[str, Any]]:
        """See `LedgerCare.savings`."""
        return await self._rows("get_savings")

    async def sweep(self, limit: int) -> int:
        """See `LedgerCare.sweep`."""
        return await self._calls.call("sweep_generations", {"p_limit": limit}, int)

    async def cleanup_entries(self, older_than: timedelta, limit: int, after: str | None = None) -> Mapping[str, Any]:
        """See `LedgerCare.cleanup_entries`."""
        return await self._row("cleanup_old_cache_entries", p_older_than=older_than, p_limit=limit, p_after=after)

    async def cleanup_memoji(self, limit: int) -> Mapping[str, int]:
        """See `LedgerCare.cleanup_memoji`."""
        return await self._row("cleanup_old_memoji", p_limit=limit)

    async def count_old_memoji(self) -> Mapping[str, int]:
        """See `LedgerCare.count_old_memoji`."""
        return await self._row("count_old_memoji")

    async def memoji_stats(self) -> Mapping[str, Any]:
        """See `LedgerCare.memoji_stats`."""
        return (await self._rows("get_memoji_stats"))[0]

    async def cleanup_generations(self, limit: int) -> Mapping[str, int]:
        """See `LedgerCare.cleanup_generations`."""
        return await self._row("cleanup_old_generation_status", p_limit=limit)

    async def claim_discarded(self, limit: int) -> Sequence[tuple[int, str, str]]:
        """See `LedgerCare.claim_discarded`. In pages, so that no row is claimed and not seen."""
        claimed: list[tuple[int, str, str]] = []
        while (page := min(limit - len(claimed), PAGE_ROWS)) > 0:
            rows = await self._rows("claim_discarded", p_limit=page)
            claimed += [(row["id"], row["bucket"], row["path"]) for row in rows]
            if len(rows) < page:
                break
        return claimed

    async def forget_discarded(self, ids: Iterable[int]) -> int:
        """See `LedgerCare.forget_discarded`."""
        return await self._calls.call("forget_discarded", {"p_ids": list(ids)}, int)

    async def count_old_entries(self, older_than: timedelta) -> Mapping[str, int]:
        """See `LedgerCare.count_old_entries`."""
        return await self._row("count_old_cache_entries", p_older_than=older_than)

    async def claim_audit(self, bucket: str) -> str | None:
        """See `LedgerCare.claim_audit`."""
        reached = await self._calls.call("claim_audit", {"p_bucket": bucket}, object)
        return reached if isinstance(reached, str) else None

    async def audit_objects(self, bucket: str, paths: Sequence[str], reached: str) -> int:
        """See `LedgerCare.audit_objects`."""
        arguments = {"p_bucket": bucket, "p_paths": list(paths), "p_reached": reached}
        return await self._calls.call("audit_objects", arguments, int)

    async def check_setup(self) -> Mapping[str, Any]:
        """See `LedgerCare.check_setup`."""
        return await self._row("check_setup")

    async def describe_schema(self, names: Sequence[str]) -> Mapping[str, Any]:
        """See `LedgerCare.describe_schema`."""
        return await self._row("describe_schema", p_names=list(names))

    async def usage_totals(self) -> Mapping[str, Any]:
        """See `LedgerCare.usage_totals`."""
        return await self._row("get_usage_totals")

    async def purge(self, condition: Condition, limit: int, *, is_dry_run: bool) -> Mapping[str, Any]:
        """See `LedgerCare.purge`."""
        return await self._row(
            "purge_entries",
            p_generation_key=condition.key,
            p_prompt=condition.prompt,
            p_key_prefix=condition.key_prefix,
            p_model=condition.model,
            p_older_than=condition.older_than,
            p_dry_run=is_dry_run,
            p_limit=limit,
        )

    # --- calls ----------------------------------------------------------------------------------

    async def _call_function(self, function: CreditFunction, arguments: Mapping[str, Any]) -> Any:
        return await self._calls.call(function, dict(arguments), object)

    async def _row(self, function: str, **arguments: Any) -> dict[str, Any]:
        return await self._calls.call(function, arguments, dict)

    async def _rows(self, function: str, **arguments: Any) -> list[dict[str, Any]]:
        return await self._calls.call(function, arguments, list)

    async def _ask(self, function: str, **arguments: Any) -> bool:
        return await self._calls.call(function, arguments, bool)


def _columns(upload: Upload) -> dict[str, Any]:
    # Its own columns alone: a rendition's key goes by a name of its own.
    return {f"p_{column.name}": getattr(upload, column.name) for column in fields(Upload)}
