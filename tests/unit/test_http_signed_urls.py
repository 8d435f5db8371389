"""Signed URLs over HTTP, where strangers may cause no miss: what a link buys, and what it never costs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from copperplate.access.signatures import SigningKey, sign_url
from copperplate.adapters.memory.clock import START, FakeClock
from copperplate.recipes.models import model_parameters
from tests.support.memory_services import MemoryServices, memory_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import httpx

    Signer = Callable[..., str]

NEW: Final = SigningKey(key_id="new", secret="n" * 32)
OLD: Final = SigningKey(key_id="old", secret="o" * 32)
STRANGE: Final = SigningKey(key_id="new", secret="s" * 32)
PATH: Final = "/64x64.png?text=a%20fox"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def services(clock: FakeClock) -> AsyncIterator[MemoryServices]:
    keys = ",".join(f"{key.key_id}:{key.secret}" for key in (NEW, OLD))
    made = memory_services(clock=clock, environ={"COPPERPLATE_ACCESS": "signed", "COPPERPLATE_URL_SIGNING_KEYS": keys})
    yield made
    await made.request_meter.close()


@pytest.fixture
def link(services: MemoryServices) -> Signer:
    """Signs for this deployment, for an hour unless told otherwise."""

    def signed(path: str = PATH, key: SigningKey = NEW, hours: float = 1) -> str:
        return sign_url(
            path,
            key=key,
            expires_at=START + timedelta(hours=hours),
            default_model=services.image_provider.models[0],
            model_parameters=lambda model: model_parameters(services.image_provider, model),
        ).url

    return signed


async def ask(client: httpx.AsyncClient, url: str) -> tuple[int, str]:
    """The status, and the problem's code or whether it was a hit."""
    answer = await client.get(url)
    if answer.status_code == 200:
        return 200, answer.headers["x-cache"]
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code, answer.json()["code"]


async def test_a_link_has_its_picture_made_once_in_every_format(
    client: httpx.AsyncClient, services: MemoryServices, link: Signer
) -> None:
    assert await ask(client, PATH) == (401, "access_denied")
    url = link()
    assert await ask(client, url) == (200, "MISS")
    assert [await ask(client, url.replace(".png", f".{other}")) for other in ("jpg", "webp")] == [(200, "HIT")] * 2
    assert await ask(client, PATH) == (200, "HIT")  # a picture that is there is everybody's
    assert services.image_provider.submits == 1


async def test_display_parameters_may_be_added_to_a_link_and_taken_away(
    client: httpx.AsyncClient, services: MemoryServices, link: Signer
) -> None:
    url = link("/64x64.auto?text=a%20fox&w=48")
    assert await ask(client, url.replace("w=48", "w=32&h=16&q=40")) == (200, "MISS")
    for other in (url, url.replace("&w=48", ""), url.replace(".auto", ".avif")):
        assert await ask(client, other) == (200, "HIT")
    assert services.image_provider.submits == 1


@pytest.mark.parametrize("key", [NEW, OLD])
async def test_links_of_both_keys_are_good_while_one_replaces_the_other(
    client: httpx.AsyncClient, link: Signer, key: SigningKey
) -> None:
    assert await ask(client, link(key=key)) == (200, "MISS")


async def test_a_link_that_has_expired_still_shows_its_picture_and_makes_no_other(
    client: httpx.AsyncClient, services: MemoryServices, clock: FakeClock, link: Signer
) -> None:
    kept, late = link(hours=2), link("/64x64.png?text=a%20hen", hours=2)
    assert await ask(client, kept) == (200, "MISS")
    await clock.advance(2 * 3_600)
    assert await ask(client, kept) == (200, "HIT")
    assert await ask(client, late) == (403, "signature_expired")
    assert services.image_provider.submits == 1


async def test_a_link_of_one_picture_makes_no_other_and_a_forged_one_none(
    client: httpx.AsyncClient, services: MemoryServices, link: Signer
) -> None:
    for url in (link().replace("fox", "hen"), link(key=STRANGE), link() + "A", link().replace("64x", "65x")):
        assert await ask(client, url) == (403, "invalid_signature")
    assert services.image_provider.submits == 0
    assert await ask(client, link()) == (200, "MISS")
    assert await ask(client, link(key=STRANGE)) == (200, "HIT")  # whatever it says, the picture is there
