"""The stand-in of Supabase Storage answers every recorded request as the real one did."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.recordings import RECORDINGS

if TYPE_CHECKING:
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase

INTERACTIONS: list[dict[str, Any]] = json.loads((RECORDINGS / "supabase-storage.json").read_text())["interactions"]
CHANGING = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # ids
    r"|\d{4}-\d\d-\d\dT[\d:.]+Z|\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT"  # times
    r"|(?<=token=)[\w.-]+"
)


def test_every_recorded_interaction_is_answered_as_it_was(storage: Supabase, storage_state: StorageState) -> None:
    storage_state.buckets.clear()
    assert len(INTERACTIONS) > 25
    with httpx.Client(base_url=f"{storage.url}/storage/v1") as client:
        for each in INTERACTIONS:
            answer = client.send(replayed(client, each, storage))
            assert seen(each["what"], answer) == recorded(each), each["what"]


def replayed(client: httpx.Client, interaction: dict[str, Any], storage: Supabase) -> httpx.Request:
    """The request once more. The files of forms were not kept: their sizes and types are told by what came of them."""
    what, asked = interaction["what"], interaction["request"]
    headers = dict(asked["headers"])
    if not what.startswith("public"):
        headers["apikey"] = storage.publishable_key if what.startswith("anon") else storage.secret_key
    form: dict[str, Any] = {}
    if "multipart" in headers.get("content-type", ""):
        del headers["content-type"]
        kind = "text/plain" if "type" in what else "image/png"
        body = b"x" * 5_000 if "size" in what else picture()
        form = {"files": {"file": ("a.png", body, kind)}, "data": {"cacheControl": "31536000"}}
    elif asked["body"]:
        form = {"content": asked["body"]}
    return client.build_request(asked["method"], asked["path"].lstrip("/"), headers=headers, **form)


def picture() -> bytes:
    download = next(each for each in INTERACTIONS if each["what"] == "download")
    return base64.b64decode(download["response"]["body"]["base64"])


def seen(what: str, answer: httpx.Response) -> tuple[int, dict[str, str], object]:
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "server")}
    is_json = "json" in headers.get("content-type", "")
    return comparable(answer.status_code, headers, answer.json() if is_json else answer.content)


def recorded(interaction: dict[str, Any]) -> tuple[int, dict[str, str], object]:
    answer = interaction["response"]
    is_json = "json" in answer["headers"]["content-type"]
    body = answer["body"]
    content = base64.b64decode(body["base64"]) if isinstance(body, dict) else body.encode()
    return comparable(answer["status"], answer["headers"], json.loads(body) if is_json else content)


def comparable(status: int, headers: dict[str, str], body: object) -> tuple[int, dict[str, str], object]:
    """Ids, times and tokens become signs; what they are part of stays. A token's length is its own."""
    text = body if isinstance(body, bytes) else json.dumps(body, sort_keys=True)
    if isinstance(text, str):
        headers = {name: value for name, value in headers.items() if name != "content-length" or "token=" not in text}
        text = CHANGING.sub("…", text)
    return status, {name: CHANGING.sub("…", value) for name, value in headers.items()}, text
