"""The real clients drive the stand-in: what it speaks is what they understand."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from tests.standin.drawings import number_of

if TYPE_CHECKING:
    from tests.standin.server import Standin

# The hosts are read when fal-client is imported, so it gets a process of its own.
SYNC = """
import fal_client, json
client = fal_client.SyncClient(key="k")
seen = []
result = client.subscribe("fal-ai/flux/schnell", {"prompt": %r, "image_size": {"width": 512, "height": 512}},
                          with_logs=True, on_queue_update=lambda status: seen.append(type(status).__name__))
handle = client.submit("fal-ai/flux/schnell", {"prompt": "another"})
handle.cancel()
print(json.dumps([result, seen]))
"""
ASYNC = """
import asyncio, fal_client, json
async def main():
    client = fal_client.AsyncClient(key="k")
    handle = await client.submit("fal-ai/flux/schnell", {"prompt": %r})
    seen = [type(status).__name__ async for status in handle.iter_events(interval=0.01)]
    return await handle.get(), seen
print(json.dumps(asyncio.run(main())))
"""


def run(program: str, standin: Standin) -> subprocess.CompletedProcess[str]:
    host = urlsplit(standin.url).netloc
    environment = {**os.environ, "FAL_RUN_HOST": host, "FAL_QUEUE_RUN_HOST": host}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("program", [SYNC, ASYNC], ids=["sync", "async"])
def test_fal_client_gets_its_picture_over_tls(program: str, standin_tls: Standin) -> None:
    done = run(program % "a red fox", standin_tls)
    assert done.returncode == 0, done.stderr
    result, seen = json.loads(done.stdout)
    assert seen == ["Queued", "InProgress", "Completed"]
    assert result["has_nsfw_concepts"] == [False]
    assert result["seed"] == 17454220438242315174
    assert number_of(httpx.get(result["images"][0]["url"]).content) == 1
    assert standin_tls.scenario_log.posts["a red fox"] == 1
    assert len(standin_tls.scenario_log.cancelled) == (1 if program is SYNC else 0)


def test_fal_client_raises_what_a_failed_job_answers(standin_tls: Standin) -> None:
    done = run(ASYNC % "a red fox [job_moderated]", standin_tls)
    assert done.returncode == 1
    assert "FalClientHTTPError" in done.stderr
    assert "content_policy_violation" in done.stderr


def test_fal_client_itself_would_submit_twice_what_is_dropped_once(standin_tls: Standin) -> None:
    # Why the submit is our own; see docs/adr/0010.
    standin_tls.scenario_log.tell("a red fox", "drop", "ok")
    assert run(ASYNC % "a red fox", standin_tls).returncode == 0
    assert standin_tls.scenario_log.posts["a red fox"] == 2


def test_openai_sdk_gets_its_picture(standin: Standin) -> None:
    with openai.OpenAI(api_key="k", base_url=standin.openai_url) as client:
        answer = client.images.generate(prompt="a red fox", model="gpt-image-2.5-flare", size="1024x1024")
    assert answer.data is not None
    assert answer.usage is not None
    assert number_of(base64.b64decode(answer.data[0].b64_json or "")) == 1
    assert (answer.usage.total_tokens, answer.size, answer.output_format) == (439 + 9, "1024x1024", "png")


def test_openai_sdk_itself_would_post_three_times_what_is_dropped(standin: Standin) -> None:
    # Why it is called without its retries; see docs/adr/0011.
    with openai.OpenAI(api_key="k", base_url=standin.openai_url) as client, pytest.raises(openai.APIConnectionError):
        client.images.generate(prompt="a red fox [drop]", model="gpt-image-2.5-flare")
    assert standin.scenario_log.posts["a red fox [drop]"] == 3


def test_openai_sdk_tells_a_moderation_refusal_by_its_code(standin: Standin) -> None:
    with openai.OpenAI(api_key="k", base_url=standin.openai_url) as client, pytest.raises(openai.BadRequestError) as no:
        client.images.generate(prompt="a red fox [moderated]", model="gpt-image-2.5-flare")
    assert no.value.code == "moderation_blocked"


def test_other_processes_tell_it_what_shall_go_wrong_and_read_what_it_counted(standin: Standin) -> None:
    told = {"prompt": "a red fox", "scenarios": ["http_500", "ok"]}
    assert httpx.post(f"{standin.url}/control", json=told).json()["stand_in"] is True
    arguments = {"prompt": "a red fox", "image_size": {"width": 1024, "height": 1024}}
    submit = f"{standin.url}/fal-ai/flux/schnell"
    headers = {"Authorization": "Key secret"}
    assert [httpx.post(submit, json=arguments, headers=headers).status_code for _ in range(3)] == [500, 200, 200]
    report: dict[str, Any] = httpx.get(f"{standin.url}/control").json()
    assert report["posts"] == {"a red fox": 3}
    assert report["pictures"] == 2
    # Nobody fetched either of them; they were drawn.
    assert report["bill"] == {"fal": {"megapixels": 2, "micro_usd": 6_000}}
    assert "secret" not in json.dumps(report)
    assert httpx.delete(f"{standin.url}/control").json()["posts"] == {}


def test_runs_by_itself_for_demonstrations() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.standin", "--help"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "stand-in" in done.stdout
