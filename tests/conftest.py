"""Fixtures for every test, and the list of what could not run."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from copperplate.adapters.certificates import authorities
from tests.support.real_storage import is_named
from tests.support.recordings import RECORDINGS

if TYPE_CHECKING:
    import pytest

pytest_plugins = [
    "tests.support.log_watch",
    "tests.support.disks",
    "tests.support.clusters",
    "tests.support.worker_processes",
    "tests.support.provider_harness",
    "tests.support.memory_services",
    "tests.support.postgres_fixtures",
    "tests.support.postgrest_fixtures",
    "tests.support.pgbouncer_server",
    "tests.support.valkey_server",
    "tests.standin.fixtures",
    "tests.support.supabase_cli",
    "tests.support.browsing",
    "tests.support.typescript_client",
    "tests.support.strangers",
    "tests.deployment.fixtures",
]

TESTS = Path(__file__).parent
# Clients of tests, which are many, read the authorities once as well.
_make_context = httpx.create_ssl_context
httpx._transports.default.create_ssl_context = (  # type: ignore[attr-defined]
    lambda verify=True, cert=None, trust_env=True: (
        authorities() if verify is True and cert is None and trust_env else _make_context(verify, cert, trust_env)
    )
)
# Until the tests are collected hardly anything is garbage; see pytest_collection_finish.
gc.disable()
# Tests start hundreds of processes, and each would compile everything it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Set by .ci/run: there, everything must run.
REQUIRE_ALL = "COPPERPLATE_REQUIRE_ALL"

# Answers of the real services lie beside some checkouts; where they do not, their test does not exist.
collect_ignore = [] if RECORDINGS.is_dir() else ["unit/test_recordings.py"]
if not (RECORDINGS / "supabase-storage.json").is_file():
    collect_ignore.append("contract/test_supabase_recording.py")
if not is_named():
    collect_ignore.append("contract/test_real_storage.py")

# Over several workers the files that take long come first, so that none of them is left for one worker at the end.
# One file has the deployment built, for which the others of its room would wait. Those of the last rooms take seconds.
ROOMS = ("deployment/test_build", "e2e", "integration", "deployment", "simulation", "contract", "unit")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the files by their rooms for `--dist loadfile --no-loadscope-reorder`; a plain run is left as it is."""

    def place(item: pytest.Item) -> int:
        file = item.path.relative_to(TESTS).as_posix()
        return next(number for number, room in enumerate(ROOMS) if file.startswith(room))

    if hasattr(config, "workerinput"):
        items.sort(key=place)


def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end: no collection of garbage has to look at it again."""
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly, at the end, which tests did not run here and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    terminalreporter.section("NOT RUN on this machine", sep="!", red=True, bold=True)
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        terminalreporter.line(f"NOT RUN {report.nodeid}: {reason.removeprefix('Skipped: ')}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything is required, a test that did not run is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get(REQUIRE_ALL) and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = 1
