"""The command line: `copperplate dev` and the commands beside it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from copperplate.errors import CopperplateError, Misconfigured
from copperplate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from copperplate.recipes.explain import Comparison, Explanation

EXAMPLE = "/1024x1024.jpg?text=" + quote("A beautiful sunset over the sea")

# What would point a local server elsewhere.
REMOTE = ("DATABASE_URL", "SUPABASE_URL", "VERCEL", "COPPERPLATE_LEDGER")

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_UNAVAILABLE = 0, 1, 2, 3
EXIT_CODES = """exit codes:
  0  done
  1  it failed; the message says why and what to do
  2  the command line cannot be understood
  3  something needed does not run or does not answer"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; answers its exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        command: Callable[[argparse.Namespace], int] = arguments.command
        return command(arguments)
    except CopperplateError as error:
        _say(f"copperplate: {error} [{error.code}]")
        return EXIT_UNAVAILABLE if error.http_status == 503 else EXIT_FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        return EXIT_OK


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="copperplate",
        description="Makes each distinct AI picture once and serves every later request from the cache.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"copperplate {version('copperplate')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    dev = _command(commands, "dev", run_dev, "run everything locally: database, migrations, server")
    dev.add_argument("--port", type=_port, help="port of the server (default: PORT or 8000; 0 takes any free one)")
    dev.add_argument("--workers", type=_workers, default=2, help="server processes (default: 2)")
    dev.add_argument("--reset", action="store_true", help="first empty the local database; pictures are made anew")
    dev.add_argument("--verbose", action="store_true", help="a line per request (never with its text)")

    serve = _command(commands, "serve", run_serve, "run the server alone, over a Supabase project or DATABASE_URL")
    serve.add_argument("--host", default="0.0.0.0", help="address to listen on (default: every one)")  # noqa: S104
    serve.add_argument("--port", type=_port, help="port (default: PORT or 8000)")
    serve.add_argument("--workers", type=_workers, default=2, help="server processes (default: 2)")
    serve.add_argument("--verbose", action="store_true", help="a line per request (never with its text)")

    _command(commands, "migrate", run_migrate, "bring the database's schema up to date")

    url = _command(
        commands, "database-url", run_database_url, "print a URL for psql; needs a running `copperplate dev`"
    )
    url.add_argument("--tcp", action="store_true", help="over TCP on 127.0.0.1 instead of the Unix socket")

    explain = _command(commands, "explain", run_explain, "show every step from a picture's URL to its keys")
    explain.add_argument("url", help='such as "/512x512.jpg?text=a%%20red%%20fox"')
    explain.add_argument("other", nargs="?", help="a second URL: why do the two differ?")
    explain.add_argument("--json", action="store_true", help="for programs")

    stats = _command(commands, "stats", run_stats, "show what was asked, made and saved")
    stats.add_argument("--json", action="store_true", help="for programs")
    return parser


def _command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + "."
    )
    parser.add_argument(
        "--data-dir",
        type=_folder,
        help="folder of the local database and pictures (default: COPPERPLATE_DATA_DIR or .copperplate)",
    )
    parser.set_defaults(command=function)
    return parser


# --- commands ------------------------------------------------------------------------------------


def run_dev(arguments: argparse.Namespace) -> int:
    """Everything on this machine, until Ctrl-C; the last line printed is a URL that shows a picture."""
    from copperplate.http import server
    from copperplate.local.bootstrap import reset
    from copperplate.local.cluster import Cluster
    from copperplate.local.stack import prepare

    for variable in REMOTE:
        if os.environ.pop(variable, None):
            _say(f"{variable} is ignored: `dev` runs everything on this machine; see `copperplate serve`")
    settings = _settings(arguments)
    # Before the database: a taken port must not cost the time of its start.
    listener = server.bind("127.0.0.1", settings.port if arguments.port is None else arguments.port)
    port = listener.getsockname()[1]
    began = time.monotonic()
    _say(f"copperplate {version('copperplate')}, data in {settings.data_dir}")
    with Cluster.start(settings.data_dir, announce=_say) as cluster:
        if arguments.reset:
            reset(cluster.superuser_url, passwords=cluster.passwords)
            _say("the local database is empty again")
        prepare(cluster, _say)
        _say(f"database ready after {time.monotonic() - began:.1f} s")
        os.environ["DATABASE_URL"] = cluster.owner_url
        os.environ["COPPERPLATE_DATA_DIR"] = str(settings.data_dir)
        base = settings.public_base_url or f"http://127.0.0.1:{port}"

        def announce_ready() -> None:
            _say(f"{arguments.workers} server processes, ready after {time.monotonic() - began:.1f} s. Ctrl-C ends.")
            _say(f"  what is saved   {base}/api/generation/stats")
            beside = f" --data-dir {shlex.quote(str(arguments.data_dir))}" if arguments.data_dir else ""
            _say(f'  in SQL          psql "$({shlex.quote(sys.argv[0])} database-url{beside})"')
            _say("open this picture, then once more for a hit:")
            print(base + EXAMPLE, flush=True)

        server.run(
            listener,
            workers=arguments.workers,
            stop_seconds=settings.stop.total_seconds(),
            announce_ready=announce_ready,
            verbose=arguments.verbose,
        )
    return EXIT_OK


def run_serve(arguments: argparse.Namespace) -> int:
    """The server alone."""
    from copperplate.http import server

    settings = _settings(arguments)
    if settings.supabase_url is None and settings.database_url is None:
        raise Misconfigured(
            "There is no database: set SUPABASE_URL or DATABASE_URL, or use `copperplate dev`, which brings its own."
        )
    os.environ["COPPERPLATE_DATA_DIR"] = str(settings.data_dir)
    listener = server.bind(arguments.host, settings.port if arguments.port is None else arguments.port)
    port = listener.getsockname()[1]
    server.run(
        listener,
        workers=arguments.workers,
        stop_seconds=settings.stop.total_seconds(),
        announce_ready=lambda: _say(f"serving on port {port} with {arguments.workers} processes"),
        verbose=arguments.verbose,
    )
    return EXIT_OK


def run_migrate(arguments: argparse.Namespace) -> int:
    """Apply what is missing."""
    from copperplate.local.migrations import migrate

    settings = _settings(arguments)
    if settings.database_url is None:
        # Opening the local database migrates it.
        with _database_url(settings):
            pass
    else:
        migrate(settings.database_url, announce=_say)
    _say("the schema is up to date")
    return EXIT_OK


def run_database_url(arguments: argparse.Namespace) -> int:
    """A URL for the owner of the schema, as the last line."""
    from copperplate.local.cluster import find_running

    settings = _settings(arguments)
    running = find_running(settings.data_dir)
    if running is None:
        _say(f"copperplate: no database runs on {settings.data_dir}: start `copperplate dev` first [not_running]")
        return EXIT_UNAVAILABLE
    print(running.tcp_url() if arguments.tcp else running.owner_url)
    return EXIT_OK


def run_explain(arguments: argparse.Namespace) -> int:
    """Why this URL has this key, and why two URLs differ. Needs no database."""
    from copperplate.adapters.system_clock import SystemClock
    from copperplate.compose import make_image_provider
    from copperplate.recipes.explain import compare, explain

    provider = make_image_provider(_settings(arguments), SystemClock())

    def explained(url: str) -> Explanation:
        return explain(url, default_model=provider.models[0], settings_of=provider.settings)

    answer: Explanation | Comparison = explained(arguments.url)
    if arguments.other is not None:
        answer = compare(explained(arguments.url), explained(arguments.other))
    print(answer.as_json() if arguments.json else answer.as_table())
    return EXIT_OK


def run_stats(arguments: argparse.Namespace) -> int:
    """One table of figures, since the beginning and today."""
    from copperplate.adapters.postgres import PostgresLedger

    async def read(url: str) -> dict[str, Any]:
        ledger = PostgresLedger(url, max_connections=1)
        await ledger.open()
        try:
            return {**await ledger.generation_stats(), **await ledger.cache_stats()}
        finally:
            await ledger.close()

    with _database_url(_settings(arguments)) as url:
        figures = asyncio.run(read(url))
    if arguments.json:
        print(json.dumps(figures, indent=2, default=float))
        return EXIT_OK
    width = max(map(len, figures))
    for name, value in figures.items():
        shown = "-" if value is None else f"{value:,}"
        print(f"{name.replace('_', ' '):<{width}}  {shown:>16}")
    return EXIT_OK


# --- what commands share -------------------------------------------------------------------------


def _settings(arguments: argparse.Namespace) -> Settings:
    environ: Mapping[str, str] = os.environ
    if arguments.data_dir is not None:
        environ = {**environ, "COPPERPLATE_DATA_DIR": str(arguments.data_dir)}
    settings = Settings.from_env(environ)
    return replace(settings, data_dir=settings.data_dir.expanduser().absolute())


@contextmanager
def _database_url(settings: Settings) -> Iterator[str]:
    """DATABASE_URL, or the local database, started for this command if it does not run."""
    from copperplate.local.stack import open_database

    if settings.database_url is not None:
        yield settings.database_url
        return
    with open_database(settings.data_dir, _say) as url:
        yield url


def _port(raw: str) -> int:
    return _between(raw, 0, 65_535)


def _workers(raw: str) -> int:
    return _between(raw, 1, 64)


def _folder(raw: str) -> Path:
    if not raw:
        raise argparse.ArgumentTypeError("name a folder")
    return Path(raw)


def _between(raw: str, least: int, most: int) -> int:
    if not raw.isascii() or not raw.isdigit() or not least <= int(raw) <= most:
        raise argparse.ArgumentTypeError(f"a whole number from {least} to {most}, not {raw!r}")
    return int(raw)


def _say(line: str) -> None:
    """Progress and complaints go beside the output, which stays fit for a pipe."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
