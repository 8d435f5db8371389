"""What fal says a submit became: all that is needed of it is the id, as fal documents the rest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from copperplate.adapters.fal.faults import read_json
from copperplate.errors import ProviderFailed, Uncollected
from copperplate.failure_classes import FailureClass
from copperplate.model import Job

if TYPE_CHECKING:
    import httpx

    from copperplate.adapters.fal.addresses import Addresses

# As fal-client builds them: {owner}/{alias}/requests/{id}, below a namespace where there is one, and /status below it.
NAMESPACES: Final = ("workflows", "comfy")
ID_HEADER: Final = "x-fal-request-id"
_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_ID_IN_PATH = re.compile(r"/requests/([A-Za-z0-9_-]{1,200})(?:/status)?$")


def read_receipt(response: httpx.Response, *, queue_url: str, model: str, addresses: Addresses) -> Job:
    """The job as fal named it; an address that is missing or not the queue's is made from the id.

    Raises `ProviderFailed` (ambiguous) where there is no id in the body, in an address or in the header.
    """
    receipt = read_json(response)
    urls = {name: _allowed(addresses, receipt.get(name)) for name in ("status_url", "response_url")}
    request_id = _id_of(receipt, urls, response)
    if request_id is None:
        raise ProviderFailed(FailureClass.AMBIGUOUS, "the submit was taken, its receipt names no job")
    base = f"{queue_url}/{_app_of(model)}/requests/{request_id}"
    return Job(
        request_id=request_id,
        urls={"status_url": urls["status_url"] or f"{base}/status", "response_url": urls["response_url"] or base},
    )


def _id_of(receipt: dict[str, Any], urls: dict[str, str | None], response: httpx.Response) -> str | None:
    for candidate in (receipt.get("request_id"), response.headers.get(ID_HEADER)):
        if isinstance(candidate, str) and _ID.fullmatch(candidate):
            return candidate
    found = [_ID_IN_PATH.search(url) for url in urls.values() if url is not None]
    return next((match[1] for match in found if match is not None), None)


def _allowed(addresses: Addresses, url: object) -> str | None:
    try:
        return str(addresses.of_job(url))
    except Uncollected:
        return None


def _app_of(model: str) -> str:
    """Owner and alias, which is what a job's path names of its model."""
    parts = model.split("/")
    return "/".join(parts[: 3 if parts[0] in NAMESPACES else 2])
