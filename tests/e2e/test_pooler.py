"""Servers and commands behind a real PgBouncer in transaction mode, on a port of its own."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg

from tests.e2e.served import serving
from tests.e2e.test_cli import run
from tests.e2e.test_operations import findings
from tests.support.pgbouncer_server import start_pgbouncer

if TYPE_CHECKING:
    from pathlib import Path

    from copperplate.local.cluster import Cluster
    from tests.support.pgbouncer_server import PgBouncer

PICTURES, TIMES, AT_ONCE = 20, 16, 40


def test_three_hundred_and_twenty_requests_of_twenty_pictures_over_two_servers_are_all_served(
    pgbouncer: PgBouncer, database: str, owner_url: str, tmp_path: Path
) -> None:
    variables = {"DATABASE_URL": pgbouncer.url(database), "COPPERPLATE_DATA_DIR": str(tmp_path / "data")}
    paths = [f"/64x64.png?text=picture%20{number}" for _ in range(TIMES) for number in range(PICTURES)]
    with serving(tmp_path / "one", **variables) as one, serving(tmp_path / "two", **variables) as two:
        assert b'"pooler":"transaction"' in one.get("/readyz").body
        servers = [(one, two)[number // PICTURES % 2] for number in range(len(paths))]
        with ThreadPoolExecutor(AT_ONCE) as callers:
            answers = list(callers.map(lambda server, path: server.get(path), servers, paths))
        said = one.log + two.log
    assert Counter(answer.status for answer in answers) == {200: PICTURES * TIMES}
    assert f"a pooler answers at 127.0.0.1:{pgbouncer.port}" in said
    with psycopg.connect(owner_url) as owner:
        assert owner.execute("select count(*) from copperplate.submits").fetchone() == (PICTURES,)


def test_doctor_says_which_pooler_it_found_and_what_that_changes(
    pgbouncer: PgBouncer, database: str, owner_url: str, tmp_path: Path
) -> None:
    variables = {"COPPERPLATE_DATA_DIR": str(tmp_path), "CRON_SECRET": "a secret of the doctor's"}
    behind = run("doctor", "--generate", **variables, DATABASE_URL=pgbouncer.url(database))
    assert behind.returncode == 0, behind.stdout
    level, said = findings(behind)["pooler"]
    assert level == "ok"
    assert said.startswith(f"found at 127.0.0.1:{pgbouncer.port}, taken to be in transaction mode: prepared statements")
    assert "COPPERPLATE_POOLER" in said
    told = {**variables, "DATABASE_URL": pgbouncer.url(database), "COPPERPLATE_POOLER": "session"}
    assert "in session mode by COPPERPLATE_POOLER" in findings(run("doctor", **told))["pooler"][1]
    direct = run("doctor", **variables, DATABASE_URL=owner_url)
    assert findings(direct)["pooler"] == ("ok", "none was found: each connection has a session of its own")


def test_doctor_says_which_limit_of_the_pooler_is_met(cluster: Cluster, database: str, tmp_path: Path) -> None:
    with start_pgbouncer(cluster, mode="session", pool_size=1) as full, psycopg.connect(full.url(database)) as holder:
        holder.execute("select 1")
        seen = run("doctor", COPPERPLATE_DATA_DIR=str(tmp_path), DATABASE_URL=full.url(database))
    level, said = findings(seen)["database"]
    assert level == "failed"
    assert "default_pool_size" in said
    assert said.endswith("or run fewer processes [pooler_exhausted]")


def test_commands_work_behind_a_pooler(pgbouncer: PgBouncer, database: str, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": pgbouncer.url(database), "COPPERPLATE_DATA_DIR": str(tmp_path)}
    for command in ("migrate", "stats", "cleanup"):
        answer = run(command, **variables)
        assert answer.returncode == 0, answer.stderr
