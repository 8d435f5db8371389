"""The settings of processing pictures that somebody brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from copperplate.settings import formats
from copperplate.settings.access import AccessSettings
from copperplate.settings.fields import setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from copperplate.source_pictures import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingSettings(AccessSettings):
    """How pictures may be brought, and what processing them costs in credits."""

    process_credits: Mapping[Operation, int] = setting(
        "COPPERPLATE_PROCESS_CREDITS",
        formats.operation_credits,
        "",
        "What an operation costs signed-in users in credits, in place of their own budget: `operation=credits`, with a "
        "comma between. Other callers pay from budgets.",
        example="upscale=1,face-detail=2",
    )
    process_urls: bool = setting(
        "COPPERPLATE_PROCESS_URLS",
        formats.flag,
        "0",
        "`1`: pictures to be processed may also be named by an https address of a public host, which this server then "
        "fetches.",
        example="1",
    )
