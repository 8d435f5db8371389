"""Every error of access and spending on every route to a picture: told whole, kept by nobody, taken for no picture."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from copperplate import denials
from copperplate.adapters.memory.clock import START
from copperplate.adapters.supabase.users import make_local_token
from copperplate.budgets import Refusal, RefusalReason
from copperplate.denials import SpendingRefused, error_of
from tests.support.memory_services import memory_services

if TYPE_CHECKING:
    import httpx

    from copperplate.errors import CopperplateError
    from tests.support.memory_services import MemoryServices

SECRET = "the-secret-of-whoever-signs-in-0123456789"
PICTURE = "/64x64.png?text=the+zebra+behind+the+wall"
OTHERS = f"{UUID(int=7)}"
# As the ledger names them; an address is never named.
BUDGETS = ("all", "anonymous", "address", f"user:{OTHERS}", f"key:{OTHERS}", f"prepaid/key:{OTHERS}", "link:now")
HOUSES = ("provider:scripted", "model:scripted/copperplate/painter-1")
CACHEABLE = {"etag", "last-modified", "expires", "age", "vercel-cdn-cache-control", "cdn-cache-control", "x-cache"}
# Route, method, and headers beside those of everybody.
ASKED: dict[str, tuple[str, str, dict[str, str]]] = {
    "GET": ("GET", PICTURE, {}),
    "GET, held": ("GET", PICTURE, {"if-none-match": "*"}),
    "GET, the stored one held": ("GET", PICTURE, {"if-none-match": "its own"}),
    "GET, a part": ("GET", PICTURE, {"range": "bytes=0-1"}),
    "HEAD": ("HEAD", PICTURE, {}),
    "HEAD, held": ("HEAD", PICTURE, {"if-none-match": "its own"}),
    "memoji": ("POST", "/api/generate-memoji", {}),
    "memoji, asked for later": ("POST", "/api/generate-memoji", {"prefer": "respond-async"}),
    "memoji under a key": ("POST", "/api/generate-memoji", {"idempotency-key": "once"}),
}


def refused(reason: RefusalReason, budget: str) -> SpendingRefused:
    refusal = Refusal(
        reason=reason,
        budget=budget,
        retry_after=timedelta(seconds=5 if reason is not RefusalReason.USED_UP else 7_200),
        cap_micro_usd=5_000_000,
        left_micro_usd=2_999,
        cap_pictures=100,
        left_pictures=0,
        resets_at=None if budget.startswith("prepaid/") else START + timedelta(days=1),
    )
    return error_of(refusal, f"user:{OTHERS}")


def all_errors() -> list[CopperplateError]:
    """One of each class, and refusals of every budget."""
    plain = [
        denials.AccessDenied("sign in"),
        denials.Forbidden("no"),
        denials.MissingScope("no scope"),
        denials.InvalidSignature("not signed here"),
        denials.SignatureExpired("over"),
        denials.TooManyWrongKeys(60),
        denials.TakenDown(),
        denials.NotEnoughCredits(UUID(OTHERS)),
        denials.InvalidBatch("no items"),
        denials.BatchNeedsName(),
        denials.UploadNeedsName(),
        denials.AddressNeedsName(),
        denials.TooManyFetches(),
        denials.TooManyFetchesOfCaller(2),
        denials.TooManyUploadsOfCaller(20, 600),
        denials.WarmingNeedsKey(),
        denials.MemojiNeedsSignIn(),
        denials.NotOwner(),
        denials.InvalidEventToken(),
        denials.TooManyStreams(),
        denials.TooManyStreamsOfAddress(20),
        denials.TooManyOpenWishes(),
    ]
    return [*plain, *(refused(reason, budget) for reason in RefusalReason for budget in (*BUDGETS, *HOUSES))]


def told(error: CopperplateError) -> str:
    return f"{error.code} {error.members.get('budget', '')}".strip()


def fail_with(error: Exception) -> Any:
    async def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


@pytest.fixture
def services() -> MemoryServices:
    return memory_services(environ={"SUPABASE_JWT_SECRET": SECRET})


def test_every_class_is_here() -> None:
    defined = {
        each for each in vars(denials).values() if isinstance(each, type) and each.__module__ == denials.__name__
    }
    # Of a batch alone, with members of its own.
    assert {type(error) for error in all_errors()} == defined - {SpendingRefused, denials.InvalidItems}


@pytest.mark.parametrize("error", all_errors(), ids=told)
async def test_denial_is_kept_by_nobody(
    error: CopperplateError, services: MemoryServices, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = (await client.get(PICTURE)).headers["etag"]
    for name in ("acquire", "peek"):
        monkeypatch.setattr(services.ledger, name, fail_with(error))
    signed_in = {"authorization": f"Bearer {make_local_token(UUID(int=1), SECRET, seconds=60)}"}
    for cause, (method, url, headers) in ASKED.items():
        held = {"if-none-match": tag} if headers.get("if-none-match") == "its own" else {}
        sent = {**signed_in, **headers, **held}
        answer = await client.request(method, url, headers=sent, json={} if method == "POST" else None)
        shown = f"{cause}: {answer.status_code} {answer.headers} {answer.text[:500]}"
        assert answer.status_code == error.http_status, shown
        assert answer.headers["cache-control"] == "no-store", shown
        assert answer.headers["content-type"] == "application/problem+json", shown
        assert not CACHEABLE & set(answer.headers), shown
        assert tag not in str(answer.headers), shown
        assert answer.headers.get("retry-after") == retry_after(error), shown
        assert ("www-authenticate" in answer.headers) == (error.http_status == 401), shown
        if method != "HEAD":
            check_document(json.loads(answer.content), error)
    assert services.image_provider.submits == 1


def retry_after(error: CopperplateError) -> str | None:
    return None if error.retry_after_seconds is None else str(error.retry_after_seconds)


def check_document(problem: dict[str, Any], error: CopperplateError) -> None:
    assert (problem["code"], problem["status"]) == (error.code, error.http_status)
    members = {"budget", "left_usd", "left_pictures", "resets_at"} if isinstance(error, SpendingRefused) else set()
    assert set(problem) == {"type", "title", "status", "detail", "code"} | members
    if isinstance(error, SpendingRefused):
        assert problem["left_usd"] == 0.002999
        assert problem["left_pictures"] == 0
        is_daily = not error.refusal.budget.startswith("prepaid/")
        assert problem["resets_at"] == ("2026-01-02T00:00:00Z" if is_daily else None)
        assert OTHERS not in problem["detail"]
