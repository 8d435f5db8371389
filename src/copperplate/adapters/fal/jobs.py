"""What an answer about a noted job means: that the job failed, or only that its picture cannot be had yet.

A job that is noted is paid for. `JOB_ANSWERS` is the whole decision: what it does not call failed is kept.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from copperplate.adapters.fal.faults import MODERATION, failed_job, key_trouble, read_json
from copperplate.errors import ProviderFailed, Uncollected
from copperplate.failure_classes import FailureClass

if TYPE_CHECKING:
    from datetime import datetime

    import httpx
    from fal_client import Completed


class Trouble(Uncollected):
    """As `Uncollected`, and asking again within seconds may help."""


class Asked(StrEnum):
    """What was asked for when the answer came."""

    STATUS = "status"
    RESULT = "result"  # the status said that the job is completed, and nothing of an error
    FAILED_RESULT = "failed result"  # the status said that it failed


class Form(StrEnum):
    """How an error is put."""

    MODEL = "model"  # a `detail` of typed entries: the model's own words (pydantic, content_policy_violation)
    DETAIL = "detail"  # a `detail` of fal's, such as a sentence
    FOREIGN = "foreign"  # a page of a gateway, or nothing


class Meaning(StrEnum):
    """What follows from an answer."""

    FAILED = "failed"  # the job itself: the attempt ends
    AGAIN = "again"  # ask again within seconds, then leave it to a later collector
    LATER = "later"  # leave it: nothing changes within seconds


AnswerRow = tuple[frozenset[Asked], range, frozenset[Form], Meaning]
ANY_FORM: Final = frozenset(Form)
FALS_OWN: Final = frozenset({Form.MODEL, Form.DETAIL})
# The first row that fits decides. A 404 or 410 is no failure: results appear late, and are kept for a stated time.
JOB_ANSWERS: Final[tuple[AnswerRow, ...]] = (
    (frozenset({Asked.RESULT, Asked.FAILED_RESULT}), range(422, 423), FALS_OWN, Meaning.FAILED),
    (frozenset({Asked.RESULT, Asked.FAILED_RESULT}), range(400, 401), frozenset({Form.MODEL}), Meaning.FAILED),
    (frozenset({Asked.RESULT, Asked.FAILED_RESULT}), range(500, 600), frozenset({Form.MODEL}), Meaning.FAILED),
    (frozenset({Asked.FAILED_RESULT}), range(500, 600), FALS_OWN, Meaning.FAILED),
    (frozenset(Asked), range(401, 404), ANY_FORM, Meaning.LATER),
    (frozenset(Asked), range(1_000), ANY_FORM, Meaning.AGAIN),
)


def meaning_of(asked: Asked, status: int, form: Form) -> Meaning:
    """What `JOB_ANSWERS` says of an error."""
    for stages, statuses, forms, meaning in JOB_ANSWERS:
        if asked in stages and status in statuses and form in forms:
            return meaning
    return Meaning.AGAIN


def form_of(response: httpx.Response) -> Form:
    """How the error in `response` is put."""
    detail = read_json(response).get("detail")
    if isinstance(detail, list) and detail and all(isinstance(entry, dict) and "type" in entry for entry in detail):
        return Form.MODEL
    return Form.DETAIL if detail else Form.FOREIGN


def refused(asked: Asked, response: httpx.Response, *, now: datetime) -> ProviderFailed | Uncollected:
    """The failure of a request about a job that was answered with an error."""
    match meaning_of(asked, response.status_code, form_of(response)):
        case Meaning.FAILED:
            return failed_job(response, now=now)
        case Meaning.LATER:
            return Uncollected(key_trouble(response), needs_operator=True)
        case Meaning.AGAIN:
            return Trouble(f"fal answers {response.status_code} for the {asked}")


def failed(done: Completed) -> ProviderFailed:
    """The failure of a job whose status says so, where its result says nothing more. fal does not bill it."""
    failure_class = FailureClass.MODERATED if done.error_type == MODERATION else FailureClass.TRANSIENT
    return ProviderFailed(failure_class, f"the job failed: {done.error_type}: {done.error}"[:300], billed=False)
