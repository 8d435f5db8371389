"""`copperplate dev` and `copperplate serve`: the server."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from copperplate.cli import consent
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from copperplate.cli.progress import Progress
from copperplate.cli.shared import add_command, forget_libpq_variables, port, say, settings_of, workers
from copperplate.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from socket import socket

    from copperplate.local.cluster import Cluster

NAMES = ("dev", "serve")
EXAMPLE = "/1024x1024.jpg?text=" + quote("A beautiful sunset over the sea")

# Variables that would point a local server at another database.
REMOTE = ("DATABASE_URL", "SUPABASE_URL", "VERCEL", "COPPERPLATE_LEDGER")


def add(commands: Any) -> None:
    """Add `dev` and `serve`."""
    dev = add_command(commands, "dev", run_dev, "run everything locally: database, migrations, server")
    dev.add_argument("--port", type=port, help="port of the server (default: PORT or 8000; 0 takes any free one)")
    dev.add_argument("--workers", type=workers, default=2, help="server processes (default: 2)")
    dev.add_argument("--reset", action="store_true", help="first empty the local database; pictures are made anew")
    consent.add_yes(dev)
    dev.add_argument("--verbose", action="store_true", help="a line per request (never with its text)")

    serve = add_command(commands, "serve", run_serve, "run the server alone, over a Supabase project or DATABASE_URL")
    serve.add_argument("--host", default="0.0.0.0", help="address to listen on (default: every one)")  # noqa: S104
    serve.add_argument("--port", type=port, help="port (default: PORT or 8000)")
    serve.add_argument("--workers", type=workers, default=2, help="server processes (default: 2)")
    serve.add_argument("--verbose", action="store_true", help="a line per request (never with its text)")


def run_dev(arguments: argparse.Namespace) -> int:
    """Everything on this machine, until Ctrl-C; the last line printed is a URL that shows a picture."""
    began = time.monotonic()
    for variable in REMOTE:
        if os.environ.pop(variable, None):
            say(f"{variable} is ignored: `dev` runs everything on this machine; see `copperplate serve`")
    if arguments.reset and not consent.can_be_had(arguments):
        return EXIT_USAGE
    forget_libpq_variables()
    settings = settings_of(arguments)
    with contextlib.ExitStack() as resources:
        with Progress("loading the server") as progress:
            from copperplate.http.server import run as server
            from copperplate.local.cluster import Cluster

            # Before the database starts: a taken port fails at once.
            listener = server.bind("127.0.0.1", settings.port if arguments.port is None else arguments.port)
            say(f"copperplate {version('copperplate')}, data in {settings.data_dir}")
            progress.step = "starting Postgres, whose files are made the first time"
            cluster = resources.enter_context(Cluster.start(settings.data_dir, announce=say))
        if arguments.reset and not _reset(arguments, settings, cluster):
            return EXIT_FAILED
        with Progress("bringing the database up to date"):
            from copperplate.local.stack import prepare

            prepare(cluster, say)
            say(f"database ready after {time.monotonic() - began:.1f} s")
        os.environ["DATABASE_URL"] = cluster.owner_url
        os.environ["SUPABASE_JWT_SECRET"] = cluster.passwords.jwt_secret
        os.environ["COPPERPLATE_DATA_DIR"] = str(settings.data_dir)
        base = settings.public_base_url or f"http://127.0.0.1:{listener.getsockname()[1]}"
        return _serve(arguments, settings, listener, lambda: _announce_dev(arguments, settings, base, began))


def _reset(arguments: argparse.Namespace, settings: Settings, cluster: Cluster) -> bool:
    """Empty the local database, where the user consents; answers whether they do."""
    from copperplate.local.bootstrap import contents, reset

    if not consent.is_given(arguments, f"everything in {settings.data_dir}: {contents(cluster.superuser_url)}"):
        return False
    reset(cluster.superuser_url, passwords=cluster.passwords)
    say("the local database is empty again")
    return True


def _announce_dev(arguments: argparse.Namespace, settings: Settings, base: str, began: float) -> None:
    processes = "1 server process" if arguments.workers == 1 else f"{arguments.workers} server processes"
    say(f"{processes}, ready after {time.monotonic() - began:.1f} s. Ctrl-C ends.")
    say(f"  what is saved   {base}/api/generation/stats")
    # A second terminal has the same defaults, but not this environment.
    is_usual = settings.data_dir == Settings.from_env({}).data_dir.absolute()
    beside = "" if is_usual else f" --data-dir {shlex.quote(str(settings.data_dir))}"
    say(f'  in SQL          psql "$({shlex.quote(sys.argv[0])} database-url{beside})"')
    say("open this picture, then once more for a hit:")
    print(base + EXAMPLE, flush=True)


def run_serve(arguments: argparse.Namespace) -> int:
    """The server alone."""
    with Progress("loading the server"):
        from copperplate.compose import check
        from copperplate.http.server import run as server

        settings = settings_of(arguments)
        check(settings)  # here too: a worker can only answer 503
        os.environ["COPPERPLATE_DATA_DIR"] = str(settings.data_dir)
        listener = server.bind(arguments.host, settings.port if arguments.port is None else arguments.port)
    processes = "1 process" if arguments.workers == 1 else f"{arguments.workers} processes"
    announced = f"serving on port {listener.getsockname()[1]} with {processes}"
    return _serve(arguments, settings, listener, lambda: say(announced))


def _serve(
    arguments: argparse.Namespace, settings: Settings, listener: socket, announce_ready: Callable[[], None]
) -> int:
    from copperplate.http.server import run as server

    ended_by = server.run(
        listener,
        settings,
        workers=arguments.workers,
        announce_ready=announce_ready,
        verbose=arguments.verbose,
    )
    return EXIT_INTERRUPTED if ended_by is signal.SIGINT else EXIT_OK
