"""How the OpenAPI document tells the refusals of access and spending, which routes that make pictures answer."""

from __future__ import annotations

from typing import Any, Final

from copperplate.http.dependencies import PROBLEM

_REF: Final = "#/components/schemas/"
_EITHER: Final = {
    "application/problem+json": {
        "schema": {"anyOf": [{"$ref": f"{_REF}SpendingProblemOut"}, {"$ref": f"{_REF}ProblemOut"}]}
    }
}
_RETRY: Final = {
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds; where asking again can change something"}
}
# Beside the classes of problems that any route answers.
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    401: {
        "description": "`access_denied`: it has to be made, and that needs a signed URL, an API key or a sign-in "
        "here. `unauthorized`: the credential that was sent is not valid",
        "content": PROBLEM,
    },
    402: {
        "description": "`budget_exhausted`: it has to be made, and a budget is used up until `resets_at`. "
        "`not_enough_credits`: it costs a credit",
        "headers": _RETRY,
        "content": _EITHER,
    },
    403: {
        "description": "It has to be made, and `missing_scope`: the API key may not, `invalid_signature` or "
        "`signature_expired`: the address does not allow it",
        "content": PROBLEM,
    },
    410: {
        "description": "`taken_down`: it is not served, and never made again. `picture_gone`: it was removed after it "
        "was delivered for this `Idempotency-Key`",
        "content": PROBLEM,
    },
    429: {
        "description": "`too_many_in_flight`: the caller has too many under way. `too_many_wrong_keys`: this address "
        "sent too many API keys that do not exist. `too_many_open_wishes`: as many pictures as one caller may have "
        "promised are still to be made",
        "headers": _RETRY,
        "content": _EITHER,
    },
    503: {
        "description": "`budget_in_flight`: pictures that are being made hold the rest of a budget. "
        "`still_generating` and others: asking again after Retry-After helps",
        "headers": _RETRY,
        "content": _EITHER,
    },
}
