"""`copperplate explain`: from a URL, or a memoji's configuration, to its keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from copperplate.cli.exit_codes import EXIT_OK
from copperplate.cli.shared import add_command, settings_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from copperplate.ports import Provider
    from copperplate.recipes.explain import Comparison, Explanation
    from copperplate.recipes.explain_memoji import MemojiExplanation
    from copperplate.settings import Settings


def add(commands: Any) -> None:
    """The command."""
    explain = add_command(commands, "explain", run_explain, "show every step from a picture's URL to its keys")
    explain.add_argument("url", help='such as "/512x512.jpg?text=a%%20red%%20fox"')
    explain.add_argument("other", nargs="?", help="a second one: why do the two differ?")
    explain.add_argument(
        "--memoji", action="store_true", help="""it is a memoji's configuration, such as '{"familyType": "mother"}'"""
    )
    explain.add_argument("--json", action="store_true", help="for programs")


def run_explain(arguments: argparse.Namespace) -> int:
    """Why this URL has this key, and why two URLs differ. Needs no database."""
    from copperplate.recipes.explain import compare

    explained = (_memoji_explainer if arguments.memoji else _url_explainer)(settings_of(arguments))
    first = explained(arguments.url)
    answer: Explanation | MemojiExplanation | Comparison = first
    if arguments.other is not None:
        answer = compare(first, explained(arguments.other))
    print(answer.as_json() if arguments.json else answer.as_table())
    return EXIT_OK


def _url_explainer(settings: Settings) -> Callable[[str], Explanation]:
    from copperplate.recipes.explain import explain

    provider = provider_of("image", settings)
    return partial(explain, default_model=provider.models[0], model_parameters=provider.settings)


def _memoji_explainer(settings: Settings) -> Callable[[str], MemojiExplanation]:
    from copperplate.recipes.explain_memoji import explain_memoji

    return partial(explain_memoji, provider=provider_of("memoji", settings))


def provider_of(kind: str, settings: Settings) -> Provider:
    """Who would make a kind of picture with these settings; connects to nothing."""
    from copperplate.adapters.system_clock import SystemClock
    from copperplate.compose import make_provider
    from copperplate.services import require_provider

    return require_provider(kind, make_provider(kind, settings, SystemClock()))
