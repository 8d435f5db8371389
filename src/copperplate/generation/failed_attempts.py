"""Records what went wrong with an attempt: the negative entry, the breaker of a service that refuses, log lines."""

from __future__ import annotations

import contextlib
import logging
import random
from datetime import timedelta
from typing import TYPE_CHECKING

from copperplate.errors import (
    GenerationFailed,
    LeaseLost,
    LedgerMisconfigured,
    LedgerUnavailable,
    Misconfigured,
    ProviderFailed,
)
from copperplate.failure_classes import FailureClass
from copperplate.generation.kinds import model_of
from copperplate.generation.retry_policy import REFUSAL_PAUSE, refusal_pause, retry_after
from copperplate.generation.state_log import log_failure_state
from copperplate.model import Failure
from copperplate.recipes.kinds import provider_input_of
from copperplate.refusals import WITHHELD, repeats_prompt
from copperplate.unexpected import log_unexpected

if TYPE_CHECKING:
    from copperplate.errors import CopperplateError
    from copperplate.generation.attempt import Attempt
    from copperplate.ports import Clock, Ledger

# docs/http.md names this logger.
logger = logging.getLogger(__name__)


async def record_failure(
    ledger: Ledger, attempt: Attempt, error: Exception, clock: Clock
) -> GenerationFailed | LeaseLost:
    """Write the negative entry, and return the error to raise. An unexpected error counts as transient and as billed.

    A failure of our account or of a setting concerns every prompt: it also opens the provider's breaker.
    """
    request, provider = attempt.request, attempt.kind.provider
    cause = _failure_of(error)
    log_failure(attempt, cause, error)
    pause = retry_after(
        cause.failure_class,
        attempt=attempt.lead.attempt,
        hint=cause.retry_after,
        jitter=random.random(),  # noqa: S311 - jitter, not a secret
    )
    if cause.failure_class is FailureClass.ACCOUNT:
        pause = refusal_pause(billed=cause.billed)
        await _report_refusal(ledger, attempt, cause, pause)
    failure = Failure(
        failure_class=cause.failure_class,
        message=str(cause),
        retry_after=pause,
        billed=cause.billed,
        usage=cause.usage,
        cost_micro_usd=provider.cost_micro_usd(request.recipe, cause.usage) if cause.usage else None,
    )
    if not await ledger.fail(request.generation_key, attempt.lead.fence, failure):
        return LeaseLost()  # a successor took over: its result counts, not ours
    log_failure_state(attempt, cause.failure_class, clock)
    return GenerationFailed(cause.failure_class, pause)


async def record_withdrawal(ledger: Ledger, attempt: Attempt, reason: str) -> None:
    """End an attempt that made no call: no failure is remembered, and its credit is released."""
    failure = Failure(
        failure_class=FailureClass.ABANDONED,
        message=reason,
        retry_after=timedelta(0),
        billed=False,
    )
    with contextlib.suppress(LedgerUnavailable, LedgerMisconfigured):
        await ledger.fail(attempt.lease.key, attempt.lease.fence, failure)


async def report_store(ledger: Ledger, attempt: Attempt, error: CopperplateError) -> None:
    """Open the store's breaker for all processes, so that no money is spent on what the store would refuse."""
    name = attempt.kind.store_breaker
    with contextlib.suppress(LedgerUnavailable, LedgerMisconfigured):
        if await ledger.report_refusal(name, FailureClass.STORE, str(error), REFUSAL_PAUSE):
            logger.error("%s takes no pictures, none is asked for: %s: %s", name, error.code, error)


def log_failure(attempt: Attempt, failed: ProviderFailed, error: Exception) -> None:
    """Log one line for each failed call, since callers see only its class; no messages, which may quote the prompt."""
    logger.warning(
        "attempt failed: provider=%s class=%s cause=%s billed=%s attempt=%d key=%s",
        attempt.kind.provider.name,
        failed.failure_class,
        type(error.__cause__ or error).__name__,
        str(failed.billed).lower(),
        attempt.lead.attempt,
        attempt.request.generation_key[:12],
    )


async def _report_refusal(ledger: Ledger, attempt: Attempt, cause: ProviderFailed, pause: timedelta) -> None:
    """Open the provider's breaker for all processes. The process that opens it logs the error."""
    request = provider_input_of(attempt.request.recipe)
    name = model_of(attempt.kind.provider.name, request.model) if cause.of_model else attempt.kind.provider.name
    reason = (
        (cause.discreet or WITHHELD) if repeats_prompt(cause.full_text or str(cause), request.prompt) else str(cause)
    )
    if await ledger.report_refusal(name, cause.failure_class, reason, pause):
        seconds = pause.total_seconds()
        logger.error("%s refuses us, whatever the prompt: %s; the next try is in %d s", name, reason, seconds)


def _failure_of(error: Exception) -> ProviderFailed:
    """The error of an attempt as a `ProviderFailed`; an unexpected one is logged with its traceback."""
    if isinstance(error, ProviderFailed):
        return error
    if isinstance(error, Misconfigured):
        return ProviderFailed(FailureClass.ACCOUNT, str(error), billed=False)
    log_unexpected(error, "a generation")
    return ProviderFailed(FailureClass.TRANSIENT, f"unexpected {type(error).__name__}")
