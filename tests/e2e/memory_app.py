"""The application over memory, for servers that tests start. Texts that begin with "slow" take half a second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from copperplate.adapters.memory.clock import FakeClock
from copperplate.http.app import create_app
from tests.e2e.memory_server import CRON_SECRET, JWT_SECRET
from tests.support.coordinator_harness import ScriptedProvider
from tests.support.memory_services import memory_services

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from copperplate.model import CanonicalValue, InputPicture, Job, ProviderResult


class SometimesSlow(ScriptedProvider):
    """Lets a caller hang up while its picture is made."""

    async def submit(
        self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()
    ) -> Job | ProviderResult:
        if str(recipe.get("prompt")).startswith("slow"):
            await asyncio.sleep(0.5)
        return await super().submit(recipe, inputs)


SECRETS = {
    "CRON_SECRET": CRON_SECRET,
    "COPPERPLATE_METRICS_TOKEN": CRON_SECRET,
    "SUPABASE_JWT_SECRET": JWT_SECRET,
}

app = create_app(services=memory_services(provider=SometimesSlow(FakeClock(), is_billable=False), environ=SECRETS))
