"""What functions of the database take and answer, as values: rows of type `copperplate.acquire_result`, above all."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from copperplate.adapters.ledger.budget_rows import refused_of
from copperplate.budgets import Credits
from copperplate.failure_classes import FailureClass
from copperplate.ledger_answers import Gone, Hit, InsufficientCredits, Lead, Miss, Negative, Wait
from copperplate.model import Entry, Job, OriginalUpload, Phase
from copperplate.ports.kept_pictures import placeholder_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.budgets import Charge
    from copperplate.ledger_answers import AcquireResult, PeekResult
    from copperplate.model import Placeholder, RenditionUpload


def acquire_result_of(row: Mapping[str, Any]) -> AcquireResult:
    """The ledger's answer to acquire."""
    match row["outcome"]:
        case "lead":
            return _lead(row)
        case "denied":
            return InsufficientCredits()
        case "refused":
            return refused_of(row)
        case _:
            return _settled(row)


def peek_result_of(row: Mapping[str, Any]) -> PeekResult:
    """The ledger's answer to peek."""
    return Miss() if row["outcome"] == "free" else _settled(row)


def _settled(row: Mapping[str, Any]) -> Hit | Wait | Negative | Gone:
    match row["outcome"]:
        case "hit":
            return Hit(entry=stored_entry(row))
        case "wait":
            return Wait(lease_left=timedelta(milliseconds=row["lease_left_ms"]))
        case "gone":
            return Gone()
        case "negative":
            return Negative(
                failure_class=FailureClass(row["error_class"]),
                retry_after=timedelta(milliseconds=row["retry_after_ms"]),
            )
        case other:
            message = f"the ledger answered {other!r}: its migrations and this program differ in version"
            raise ValueError(message)


def charge_row(charge: Charge) -> dict[str, Any]:
    """One of `acquire_generation`'s charges."""
    return {"kind": "credit", "user_id": str(charge.user), "amount": charge.credits}


def entry_of(row: Mapping[str, Any]) -> Entry | None:
    """The ledger's answer to a write: the entry that stands, or None for a stale fence."""
    return stored_entry(row) if row["outcome"] == "hit" else None


def credits_of(row: Mapping[str, Any]) -> Credits:
    """The credits of one user."""
    return Credits(balance=row["balance"], held=row["held"])


def upload_row(upload: OriginalUpload | RenditionUpload) -> dict[str, Any]:
    """An upload as one value: an intent, or what is to be recorded."""
    row = {column.name: getattr(upload, column.name) for column in fields(upload) if column.name != "placeholder"}
    return {**row, **placeholder_row(upload.placeholder)} if isinstance(upload, OriginalUpload) else row


def placeholder_row(placeholder: Placeholder | None) -> dict[str, str | None]:
    """A placeholder as its two columns."""
    if placeholder is None:
        return {"thumbhash": None, "color": None}
    return {"thumbhash": b64encode(placeholder.thumbhash).decode(), "color": placeholder.color}


def stored_entry(row: Mapping[str, Any]) -> Entry:
    """The entry of a hit."""
    return Entry(
        kind=row["kind"],
        key=row["entry_key"],
        generation_key=row["generation_key"],
        path=row["path"],
        digest=row["digest"],
        size_bytes=row["file_size"],
        format=row["format"],
        width=row["width"],
        height=row["height"],
        is_original=row["is_original"],
        placeholder=placeholder_of(row),
        encoder_version=row["encoder_version"],
        is_ai_made=row["is_ai_made"],
    )


def _lead(row: Mapping[str, Any]) -> Lead:
    request_id, intent = row["provider_request_id"], row["intent"]
    return Lead(
        fence=row["fence"],
        phase=Phase(row["phase"]),
        attempt=row["attempt"],
        submit_no=row["submit_no"],
        decode_no=row["decode_no"],
        job=Job(request_id=request_id, urls=row["provider_urls"] or {}) if request_id else None,
        job_age=timedelta(milliseconds=row["job_age_ms"] or 0),
        intent=_intent_of(intent) if intent else None,
    )


def _intent_of(intent: Mapping[str, Any]) -> OriginalUpload:
    columns = {name: value for name, value in intent.items() if name not in ("thumbhash", "color")}
    return OriginalUpload(**columns, placeholder=placeholder_of(intent))
