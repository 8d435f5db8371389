"""The settings of processing pictures that somebody brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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
        "comma between. Other callers pay from budgets. What a free provider makes costs no credits.",
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
    process_models: tuple[str, ...] | None = setting(
        "COPPERPLATE_PROCESS_MODELS",
        formats.model_names,
        None,
        "Which models of fal process pictures, by name with a comma between. The first of an operation is its default; "
        "an operation without one is not offered.",
        example="fal-ai/birefnet/v2,fal-ai/esrgan,fal-ai/codeformer",
        unset="all of them",
    )
    fal_rest_url: str = setting(
        "COPPERPLATE_FAL_REST_URL",
        formats.service_url,
        "https://rest.fal.ai",
        "Address of fal's storage, where pictures to be processed are uploaded; http only on this machine, for a "
        "stand-in.",
    )
    fal_upload_acl: Literal["forbid", "hide", "allow"] = setting(
        "COPPERPLATE_FAL_UPLOAD_ACL",
        formats.one_of("forbid", "hide", "allow"),
        "forbid",
        "Who may read such an upload beside your account at fal, by its link, until it expires after an hour: nobody "
        "(`forbid`, `hide`), or everybody who has the link (`allow`).",
    )
