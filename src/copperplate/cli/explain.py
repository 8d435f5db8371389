"""`copperplate explain`: from a URL to its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from copperplate.cli.shared import EXIT_OK, add_command, settings_of

if TYPE_CHECKING:
    import argparse

    from copperplate.recipes.explain import Comparison, Explanation


def add(commands: Any) -> None:
    """The command."""
    explain = add_command(commands, "explain", run_explain, "show every step from a picture's URL to its keys")
    explain.add_argument("url", help='such as "/512x512.jpg?text=a%%20red%%20fox"')
    explain.add_argument("other", nargs="?", help="a second URL: why do the two differ?")
    explain.add_argument("--json", action="store_true", help="for programs")


def run_explain(arguments: argparse.Namespace) -> int:
    """Why this URL has this key, and why two URLs differ. Needs no database."""
    from copperplate.adapters.system_clock import SystemClock
    from copperplate.compose import make_image_provider
    from copperplate.recipes.explain import compare, explain

    provider = make_image_provider(settings_of(arguments), SystemClock())

    def explained(url: str) -> Explanation:
        return explain(url, default_model=provider.models[0], settings_of=provider.settings)

    answer: Explanation | Comparison = explained(arguments.url)
    if arguments.other is not None:
        answer = compare(explained(arguments.url), explained(arguments.other))
    print(answer.as_json() if arguments.json else answer.as_table())
    return EXIT_OK
