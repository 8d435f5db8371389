"""Batches with memoji over a real Postgres: told to their owner with a stream that opens, made and charged once."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import pytest

from copperplate.adapters.supabase.users import make_local_token
from copperplate.compose import open_services
from copperplate.http.app import create_app
from copperplate.settings import Settings
from tests.support.postgres_fixtures import making_databases
from tests.support.tokens import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from copperplate.local.cluster import Cluster
    from tests.standin.server import Standin

ALICE = UUID(int=0xA11CE)
# As docs/batches.md has it.
ITEMS = [{"prompt": "A red fox", "width": 64, "height": 64}, {"kind": "memoji", "hair": "curly"}]


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Iterator[str]:
    with making_databases(cluster) as make:
        yield cluster.url(database=make())


async def test_a_batch_with_memoji_is_told_made_and_charged_once(
    database: str, standin: Standin, tmp_path: Path
) -> None:
    environ = {
        "DATABASE_URL": database,
        "COPPERPLATE_DATA_DIR": str(tmp_path),
        "SUPABASE_JWT_SECRET": SECRET,
        "COPPERPLATE_PUBLIC_BASE_URL": "http://pictures.test",
        # The painter's memoji cost no credit.
        "OPENAI_API_KEY": "sk-stand-in",
        "OPENAI_BASE_URL": f"{standin.url}/v1",
    }
    # Made here, not on import: a token ages while other tests run.
    as_alice = {"authorization": f"Bearer {make_local_token(ALICE, SECRET, seconds=600)}"}
    async with open_services(Settings.from_env(environ)) as services:
        await services.ledger.grant_credits(ALICE, 3, "test")
        transport = httpx.ASGITransport(create_app(services=services))
        async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
            made = await client.post("/api/generate", json={"items": ITEMS}, headers=as_alice)
            assert (made.status_code, made.json()["total"]) == (202, 2)
            address = made.headers["location"]
            look = (await client.get(address, headers=as_alice)).json()
            assert (await client.get(address)).status_code == 404
            # A HEAD says whether there is something to watch.
            for told in (made.json(), look):
                assert (await client.head(told["events"])).status_code == 200
            assert (await client.head(f"{address}/events?token={'A' * 43}")).status_code in (403, 404)
            await services.work.run(within_seconds=60)
            done = (await client.get(address, headers=as_alice)).json()
            assert (done["status"], done["counts"]["completed"]) == ("completed", 2)
        assert (await services.ledger.credits(ALICE)).balance == 2
