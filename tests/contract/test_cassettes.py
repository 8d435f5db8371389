"""What we send, pinned: cassettes recorded against the STAND-IN (not against fal or OpenAI), matched on bodies.

To record them anew: `COPPERPLATE_RECORD=1 .venv/bin/python -m pytest tests/contract/test_cassettes.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import vcr

from copperplate.errors import ProviderFailed
from copperplate.failure_classes import FailureClass
from tests.standin.drawings import number_of
from tests.support.processing_harness import Brought, processing_at
from tests.support.provider_harness import KEY, fal_at, openai_at, recipe_of

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[1] / "cassettes"
LABEL = "# Recorded against tests/standin, a stand-in made by hand; not against fal or OpenAI.\n"
IS_RECORDING = os.environ.get("COPPERPLATE_RECORD") == "1"
PORT = 8199
URL = f"http://127.0.0.1:{PORT}"
UNSTABLE_HEADERS = ("date", "server")
MATCHED = ("method", "scheme", "host", "port", "path", "query", "body", "our_headers")


def our_headers(request: Any) -> dict[str, str]:
    """The headers by which we mean something."""
    return {
        name.lower(): value if isinstance(value, str) else value[0]
        for name, value in request.headers.items()
        if name.lower().startswith(("x-fal", "x-app-fal")) or name.lower() == "content-type"
    }


def same_headers(one: Any, other: Any) -> None:
    assert our_headers(one) == our_headers(other)


def without_unstable_headers(response: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in response["headers"].items() if name.lower() not in UNSTABLE_HEADERS}
    return {**response, "headers": kept}


def asked_by_us(request: Any) -> Any:
    """None for what the stand-in loads itself while it is recorded: it runs in this process."""
    return None if request.path.startswith("/files/b/") else request


@contextlib.contextmanager
def cassette_of(name: str) -> Iterator[Any]:
    """Replay `name`, which must be played to its end; or record it, where that was asked for."""
    recorder = vcr.VCR(
        cassette_library_dir=str(FOLDER),
        record_mode=vcr.mode.ALL if IS_RECORDING else vcr.mode.NONE,
        match_on=MATCHED,
        filter_headers=["authorization"],
        before_record_request=asked_by_us,
        before_record_response=without_unstable_headers,
    )
    recorder.register_matcher("our_headers", same_headers)
    path = FOLDER / f"standin-{name}.yaml"
    with contextlib.ExitStack() as stack:
        if IS_RECORDING:
            from tests.standin.server import serve

            path.unlink(missing_ok=True)
            stack.enter_context(serve(port=PORT))
        with recorder.use_cassette(path.name) as cassette:
            yield cassette
    if IS_RECORDING:
        path.write_text(LABEL + path.read_text())
    else:
        assert cassette.all_played


def posts(cassette: Any) -> list[Any]:
    return [json.loads(request.body) for request in cassette.requests if request.method == "POST"]


async def test_standin_fal_submit_collect_and_fetch() -> None:
    fal = fal_at(URL)
    with cassette_of("fal-picture") as cassette:
        recipe = recipe_of(fal, "a red fox", width=100, height=100, seed="17454220438242315174")
        made = await fal.collect(await fal.submit(recipe))
        assert (number_of(made.body), made.usage) == (1, {"micro_units": 1_000_000})
        assert posts(cassette) == [
            {
                "prompt": "a red fox",
                "image_size": {"width": 512, "height": 512},
                "num_inference_steps": 4,
                "num_images": 1,
                "enable_safety_checker": True,
                "output_format": "png",
                "seed": 17454220438242315174,
            }
        ]
        # Queued, in progress, completed, once more by fal-client, the result, the picture.
        assert [request.method for request in cassette.requests] == ["POST", *["GET"] * 6]
    await fal.close()


async def test_standin_fal_job_that_is_moderated() -> None:
    fal = fal_at(URL)
    with cassette_of("fal-moderated") as cassette:
        job = await fal.submit(recipe_of(fal, "a red fox [job_moderated]"))
        with pytest.raises(ProviderFailed) as failed:
            await fal.collect(job)
        assert len(posts(cassette)) == 1
    assert failed.value.failure_class is FailureClass.MODERATED
    await fal.close()


async def test_standin_fal_rate_limit_is_answered_once() -> None:
    fal = fal_at(URL)
    with cassette_of("fal-rate-limited") as cassette:
        with pytest.raises(ProviderFailed) as failed:
            await fal.submit(recipe_of(fal, "a red fox [http_429=7]"))
        assert len(posts(cassette)) == 1
    assert failed.value.failure_class is FailureClass.RATE_LIMITED
    await fal.close()


def stored_png(side: int = 24) -> bytes:
    """A PNG whose bytes depend on no library's way of compressing."""
    rows = b"".join(b"\0" + bytes(9 * (row + column) % 256 for column in range(side)) for row in range(side))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 0)),
        (b"IEND", b""),
    )
    made = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + made


async def test_standin_fal_upload_and_processing() -> None:
    fal = processing_at(URL)
    with cassette_of("fal-processed") as cassette:
        request = Brought(stored_png()).request(fal, "fal-ai/seedvr/upscale/image")
        made = await fal.collect(await fal.submit(request.recipe, request.inputs))
        assert made.usage == {"micro_units": 1_000_000}
        sent = [request for request in cassette.requests if request.method == "POST"]
        assert [request.path for request in sent] == [
            "/storage/auth/token",
            "/files/upload",
            "/fal-ai/seedvr/upscale/image",
        ]
        assert sent[1].body == stored_png()
        assert json.loads(sent[1].headers["x-fal-object-lifecycle"]) == {
            "expiration_duration_seconds": 3_600,
            "initial_acl": {"default": "forbid"},
        }
    await fal.close()


async def test_standin_openai_generate() -> None:
    images = openai_at(f"{URL}/v1")
    with cassette_of("openai-picture") as cassette:
        made = await images.submit(recipe_of(images, "a red fox", width=1024, height=1024))
        assert (number_of(made.body), made.usage["out"]) == (1, 430)
        assert posts(cassette) == [
            {
                "prompt": "a red fox",
                "model": "gpt-image-2.5-flare",
                "n": 1,
                "size": "1024x1024",
                "quality": "medium",
                "background": "opaque",
                "moderation": "auto",
                "output_format": "png",
            }
        ]
    await images.close()


async def test_standin_openai_refusal_is_answered_once() -> None:
    images = openai_at(f"{URL}/v1")
    with cassette_of("openai-moderated") as cassette:
        with pytest.raises(ProviderFailed) as failed:
            await images.submit(recipe_of(images, "a red fox [moderated]"))
        assert len(posts(cassette)) == 1
    assert failed.value.failure_class is FailureClass.MODERATED
    await images.close()


@pytest.mark.skipif(IS_RECORDING, reason="a cassette that is being recorded answers anything")
async def test_another_prompt_is_not_answered_from_a_cassette() -> None:
    from vcr.errors import CannotOverwriteExistingCassetteException

    fal = fal_at(URL)
    with pytest.raises(CannotOverwriteExistingCassetteException), cassette_of("fal-rate-limited"):
        await fal.submit(recipe_of(fal, "a blue fox [http_429=7]"))
    await fal.close()


def test_cassettes_say_what_they_are_and_hold_no_key() -> None:
    recorded = sorted(FOLDER.glob("*.yaml"))
    assert len(recorded) == 6
    for path in recorded:
        text = path.read_text()
        assert path.name.startswith("standin-")
        assert text.startswith(LABEL)
        assert KEY not in text
        assert "uthorization" not in text
        assert len(text) < 100_000
