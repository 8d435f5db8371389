"""`copperplate sign`: a picture's URL that carries the right to have it made."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from copperplate.cli.arguments import add_json, duration
from copperplate.cli.exit_codes import EXIT_OK
from copperplate.cli.explain import provider_of
from copperplate.cli.shared import add_command, say, settings_of

if TYPE_CHECKING:
    import argparse

    from copperplate.access.signatures import SignedUrl
    from copperplate.settings import Settings

LONGEST: Final = timedelta(days=3_660)
DEFAULT_EXPIRES: Final = "30d"


def add(commands: Any) -> None:
    """The command."""
    sign = add_command(commands, "sign", run_sign, "sign a picture's URL: whoever has it may have that picture made")
    sign.add_argument("url", help='such as "/512x512.jpg?text=a%%20red%%20fox"; a signature that it has is replaced')
    sign.add_argument(
        "--expires",
        type=_duration,
        default=DEFAULT_EXPIRES,
        metavar="DURATION",
        help=f"for how long, such as 90m, 12h, 30d or 8w, rounded up to the full hour (default: {DEFAULT_EXPIRES})",
    )
    sign.add_argument(
        "--key-id", metavar="ID", help="a key of COPPERPLATE_URL_SIGNING_KEYS (default: the first, which signs)"
    )
    add_json(sign)


def run_sign(arguments: argparse.Namespace) -> int:
    """Sign for the deployment that has these settings; the last line is the URL alone. Needs no database."""
    settings = settings_of(arguments)
    signed = _sign(arguments, settings)
    expires_at = signed.expires_at.isoformat()
    if arguments.json:
        answer = {
            "url": signed.url,
            "generation_key": signed.picture_request.generation_key,
            "model": signed.picture_request.model,
            "key_id": signed.key_id,
            "expires_at": expires_at,
        }
        print(json.dumps(answer, ensure_ascii=False))
        return EXIT_OK
    model = signed.picture_request.model
    say(f"signed by key {signed.key_id} until {expires_at}; valid where this address means the model {model}")
    print(signed.url)
    return EXIT_OK


def _sign(arguments: argparse.Namespace, settings: Settings) -> SignedUrl:
    from functools import partial

    from copperplate.access.signatures import SigningKeys, sign_url
    from copperplate.adapters.system_clock import SystemClock
    from copperplate.recipes.models import model_parameters

    key = SigningKeys.of(settings.url_signing_keys).signing_key(arguments.key_id)
    provider = provider_of("image", settings)
    is_path = arguments.url.startswith("/")
    return sign_url(
        (settings.public_base_url or "") + arguments.url if is_path else arguments.url,
        key=key,
        expires_at=SystemClock().now() + arguments.expires,
        default_model=provider.models[0],
        model_parameters=partial(model_parameters, provider),
    )


def _duration(raw: str) -> timedelta:
    return duration(raw, longest=LONGEST)
