"""The application over memory, for servers that tests start. Texts that begin with "slow" take half a second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from copperplate.adapters.memory.clock import FakeClock
from copperplate.http.app import create_app
from tests.e2e.memory_server import CRON_SECRET, JWT_SECRET
from tests.support.coordinator_harness import ScriptedProvider
from tests.support.memory_services import memory_services
from tests.support.processing import ScriptedProcessor

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


class Forgetful(ScriptedProcessor):
    """Holds no picture once its result is made: the server counts what is held."""

    async def submit(
        self, recipe: Mapping[str, CanonicalValue], inputs: Sequence[InputPicture] = ()
    ) -> Job | ProviderResult:
        made = await super().submit(recipe, inputs)
        self.inputs.clear()
        return made


SECRETS = {
    "CRON_SECRET": CRON_SECRET,
    "COPPERPLATE_METRICS_TOKEN": CRON_SECRET,
    "SUPABASE_JWT_SECRET": JWT_SECRET,
}

provider = SometimesSlow(FakeClock(), is_billable=False)
app = create_app(services=memory_services(provider=provider, processor=Forgetful(), environ=SECRETS))
