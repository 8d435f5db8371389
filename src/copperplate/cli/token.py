"""`copperplate token`: a sign-in for the server on this machine, and nowhere else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from copperplate.cli.exit_codes import EXIT_OK, EXIT_UNAVAILABLE
from copperplate.cli.shared import add_command, between, say, settings_of, user_id

if TYPE_CHECKING:
    import argparse

DAY_SECONDS = 86_400


def add(commands: Any) -> None:
    """The command."""
    token = add_command(commands, "token", run_token, "print a token for a user of a running `copperplate dev`")
    token.add_argument("--user", type=user_id, default=None, metavar="UUID", help="whose (default: a new user's)")
    token.add_argument("--seconds", type=_seconds, default=3_600, help="how long it is good for (default: 3600)")
    token.add_argument("--json", action="store_true", help="for programs")


def run_token(arguments: argparse.Namespace) -> int:
    """A token that this machine's server accepts; the last line is the token alone."""
    from copperplate.adapters.supabase.users import make_local_token
    from copperplate.local.cluster import find_running

    settings = settings_of(arguments)
    running = find_running(settings.data_dir)
    if running is None:
        say(
            f"copperplate: no database runs on {settings.data_dir}: start `copperplate dev` first. Users of a Supabase "
            "project get theirs by signing in: supabase.auth.getSession() has it as access_token [not_running]"
        )
        return EXIT_UNAVAILABLE
    user = arguments.user or uuid4()
    token = make_local_token(user, running.passwords.jwt_secret, seconds=arguments.seconds)
    if arguments.json:
        print(json.dumps({"user": str(user), "seconds": arguments.seconds, "token": token}))
        return EXIT_OK
    say(f"user {user}, good for {arguments.seconds} seconds, on this machine only")
    print(token)
    return EXIT_OK


def _seconds(raw: str) -> int:
    return between(raw, 1, 365 * DAY_SECONDS)
