"""`cleanup`, `purge` and `doctor` as a person runs them, over a real Postgres and over a Supabase project."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from copperplate.compose import open_services
from copperplate.local.bootstrap import connect, create_database
from copperplate.local.migrations import find_migrations_folder, read_migrations
from copperplate.model import SCHEMA, Outcome
from copperplate.settings import Settings
from copperplate.testing import GENERATE
from copperplate.tiers.coherence import Trust
from tests.e2e.test_cli import environment, run
from tests.support.commands import COPPERPLATE
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from pathlib import Path

    from copperplate.local.cluster import Cluster
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase
    from tests.support.valkey_server import Valkey

CRON_SECRET = "a secret of the doctor's"


@pytest.fixture
def deployment(owner_url: str, tmp_path: Path) -> dict[str, str]:
    """The variables of a deployment without Supabase."""
    return {"DATABASE_URL": owner_url, "COPPERPLATE_DATA_DIR": str(tmp_path), "CRON_SECRET": CRON_SECRET}


@pytest.fixture
def project_variables(project: Supabase, tmp_path: Path) -> dict[str, str]:
    """The variables of a deployment with Supabase, which paints."""
    return {
        "SUPABASE_URL": project.url,
        "SUPABASE_SECRET_KEY": project.secret_key,
        "COPPERPLATE_PROVIDER": "painter",
        "COPPERPLATE_DATA_DIR": str(tmp_path),
        "CRON_SECRET": CRON_SECRET,
    }


def make(deployment: dict[str, str], *prompts: str) -> list[Outcome]:
    """Ask for pictures, as a server does."""

    async def ask() -> list[Outcome]:
        async with open_services(Settings.from_env(deployment)) as services:
            return [
                (await services.renditions.read(asked, GENERATE)).outcome for asked in map(picture_request, prompts)
            ]

    return asyncio.run(ask())


def findings(answer: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    lines = [re.split(r"  +", line.strip(), maxsplit=2) for line in answer.stdout.splitlines()]
    return {what: (level, said) for level, what, said in (each if len(each) == 3 else [*each, ""] for each in lines)}


# --- cleanup and purge -----------------------------------------------------------------------------


def test_schema_this_program_expects_is_the_newest_migration() -> None:
    assert read_migrations(find_migrations_folder())[-1].version == SCHEMA


def test_cleanup_counts_first_and_removes_then(deployment: dict[str, str]) -> None:
    make(deployment, "old one", "old two")
    later = {**deployment, "DATABASE_URL": f"{deployment['DATABASE_URL']}&options=-c%20copperplate.clock_offset%3D8d"}
    assert json.loads(run("cleanup", "--json", **later).stdout)["images"] == 0
    counted = json.loads(run("cleanup", "--max-age-days", "7", "--dry-run", "--json", **later).stdout)
    assert (counted["images"], counted["generations"]) == (4, 2)  # each with a WebP beside it
    assert make(deployment, "old one") == [Outcome.HIT]
    later = {**deployment, "DATABASE_URL": f"{deployment['DATABASE_URL']}&options=-c%20copperplate.clock_offset%3D9d"}
    removed = json.loads(run("cleanup", "--max-age-days", "7", "--yes", "--json", **later).stdout)
    assert {name: removed[name] for name in counted} == counted
    assert removed["is_complete"]
    assert make(deployment, "old one") == [Outcome.GENERATED]


def test_purge_counts_first_and_forgets_then(deployment: dict[str, str]) -> None:
    make(deployment, "wrong", "right")
    dry = run("purge", "--prompt", "wrong", "--dry-run", "--json", **deployment)
    assert (json.loads(dry.stdout)["generations"], json.loads(dry.stdout)["images"]) == (1, 2)
    assert json.loads(dry.stdout)["bytes"] > 0
    assert make(deployment, "wrong") == [Outcome.HIT]
    assert run("purge", "--prompt", "wrong", "--yes", "--json", **deployment).stdout == dry.stdout
    assert make(deployment, "wrong", "right") == [Outcome.GENERATED, Outcome.HIT]


def test_purge_of_a_project_reaches_its_objects_and_its_cdn_and_says_where_there_is_none(
    project_variables: dict[str, str], storage_state_of_project: StorageState
) -> None:
    make(project_variables, "wrong", "right", "wrong too")
    kept = storage_state_of_project.buckets["generated-images"].objects
    before = set(kept)
    assert run("purge", "--prompt", "wrong", "--yes", **project_variables).returncode == 0
    assert set(storage_state_of_project.purged) == {f"generated-images/{path}" for path in before - set(kept)}
    assert len(storage_state_of_project.purged) == 3, "the original, the picture and its WebP"
    storage_state_of_project.has_cdn = False
    without = run("purge", "--prompt", "wrong too", "--yes", **project_variables)
    assert (without.returncode, len(kept)) == (0, 3)
    assert "no CDN that can be purged" in without.stderr
    storage_state_of_project.tell("cdn", "http_503")
    failed = run("purge", "--prompt", "right", "--yes", **project_variables)
    assert failed.returncode == 0
    assert "The work step tells it again" in failed.stderr
    assert "[cdn_unavailable]" in failed.stderr
    assert not kept


def test_work_empties_the_outbox_of_what_was_deleted_in_sql(
    project_variables: dict[str, str], storage_state_of_project: StorageState, owner_url: str
) -> None:
    make(project_variables, "wrong", "right")
    kept = storage_state_of_project.buckets["generated-images"].objects
    before = set(kept)
    with connect(owner_url) as connection:
        connection.execute("delete from public.image_cache where prompt = 'wrong'")
    assert run("work", **project_variables).returncode == 0
    gone = before - set(kept)
    assert len(gone) == 3, "the objects, too"
    # At once, and once more when no process answers them any more.
    assert sorted(storage_state_of_project.purged) == sorted(2 * [f"generated-images/{path}" for path in gone])
    with connect(owner_url) as connection:
        assert connection.execute("select * from copperplate.cdn_purges where scope = 'object'").fetchall() == []


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--all",), "--all with --tier"),
        (("--tier", "memory"), "name what is wrong"),
        (("--tier", "memory", "--all", "--prompt", "x"), "--all leaves nothing out"),
        (("--tier", "memory", "--all", "--with-pinned"), "need storage"),
        (("--tier", "ram", "--all"), "invalid choice"),
    ],
)
def test_a_purge_of_tiers_that_cannot_be_understood_is_refused(arguments: tuple[str, ...], fault: str) -> None:
    refused = run("purge", *arguments, "--yes")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert fault in refused.stderr


def test_a_purge_of_tiers_counts_first_and_leaves_the_pictures(deployment: dict[str, str]) -> None:
    make(deployment, "wrong", "right")
    tiers = ("--tier", "memory", "--tier", "disk", "--tier", "redis", "--tier", "cdn")
    dry = run("purge", *tiers, "--prompt", "wrong", "--dry-run", "--json", **deployment)
    counted = json.loads(dry.stdout)
    assert list(counted) == ["memory", "disk", "redis", "cdn"]
    assert (counted["cdn"]["keys"], counted["cdn"]["objects"], counted["redis"]["entries"]) == (1, 3, 0)
    assert counted["memory"]["bytes"] > 0
    code, _, said = run_on_a_terminal("no", "purge", "--tier", "memory", "--all", **deployment)
    assert code == 1
    assert "This drops at most" in said
    done = run("purge", *tiers, "--all", "--yes", **deployment)
    assert done.returncode == 0
    assert "within 3 seconds" in done.stderr
    assert make(deployment, "wrong", "right") == [Outcome.HIT, Outcome.HIT]


def keep_copies(deployment: dict[str, str], *prompts: str) -> None:
    """Ask for pictures as a server does that has read the feed, so that its tiers keep them."""

    async def ask() -> None:
        async with open_services(Settings.from_env(deployment)) as services:
            while await services.tiers.coherence.trust() is not Trust.FRESH:
                await asyncio.sleep(0.1)
            for asked in map(picture_request, prompts):
                await services.renditions.read(asked, GENERATE)

    asyncio.run(ask())


def test_a_purge_of_redis_removes_what_is_in_it(deployment: dict[str, str], valkey: Valkey) -> None:
    with_redis = {**deployment, "REDIS_URL": valkey.url, "COPPERPLATE_MEMORY_PICTURES": "0"}
    make(with_redis, "wrong", "right")
    keep_copies(with_redis, "wrong", "right")
    for prompt, entries, left in (("wrong", 1, 1), ("nobody's", 0, 1), ("right", 1, 0)):
        purge_ = ("purge", "--tier", "redis", "--prompt", prompt, "--json")
        dry = json.loads(run(*purge_, "--dry-run", **with_redis).stdout)
        assert dry["redis"]["entries"] == entries
        assert (dry["redis"]["bytes"] > 0) == bool(entries)
        assert json.loads(run(*purge_, "--yes", **with_redis).stdout) == dry
        assert len(valkey.ask.keys("*")) == left


def test_a_purge_of_all_in_storage_leaves_what_is_pinned(deployment: dict[str, str]) -> None:
    make(deployment, "one", "two")
    assert run("pin", picture_request("one").generation_key, **deployment).returncode == 0
    figures = json.loads(run("purge", "--tier", "storage", "--all", "--yes", "--json", **deployment).stdout)
    assert (figures["storage"]["generations"], figures["storage"]["pinned"]) == (1, 1)
    assert make(deployment, "one", "two") == [Outcome.HIT, Outcome.GENERATED]


# --- consent ---------------------------------------------------------------------------------------

DESTRUCTIVE = [("purge", "--prompt", "a fox"), ("cleanup", "--max-age-days", "0"), ("dev", "--reset", "--port", "0")]


def run_on_a_terminal(answer: str, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Exit code, output, and what was said beside it, of a command whose input is a terminal."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [COPPERPLATE, *arguments],
        env=environment(**variables),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.write(ours, f"{answer}\n".encode())
        output, said = process.communicate(timeout=120)
    os.close(ours)
    os.close(theirs)
    return process.returncode, output, said


@pytest.mark.parametrize("command", DESTRUCTIVE, ids=lambda command: command[0])
def test_without_a_terminal_what_removes_something_wants_to_be_told_so(
    deployment: dict[str, str], command: tuple[str, ...]
) -> None:
    make(deployment, "a fox")
    refused = run(*command, **deployment)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--yes" in refused.stderr
    assert make(deployment, "a fox") == [Outcome.HIT]


@pytest.mark.parametrize("command", DESTRUCTIVE[:2], ids=lambda command: command[0])
def test_on_a_terminal_it_says_what_goes_and_asks(deployment: dict[str, str], command: tuple[str, ...]) -> None:
    make(deployment, "a fox")
    for answer in ("", "n", "maybe"):
        code, output, said = run_on_a_terminal(answer, *command, **deployment)
        assert (code, output) == (1, "")
        assert "2 pictures of 1 generations" in said
        assert "nothing was removed" in said
    assert make(deployment, "a fox") == [Outcome.HIT]
    code, output, _ = run_on_a_terminal("y", *command, "--json", **deployment)
    assert (code, json.loads(output)["images"]) == (0, 2)
    assert make(deployment, "a fox") == [Outcome.GENERATED]


def test_where_there_is_nothing_to_purge_nobody_is_asked(deployment: dict[str, str]) -> None:
    code, output, said = run_on_a_terminal("n", "purge", "--prompt", "nothing", "--json", **deployment)
    assert (code, json.loads(output)["generations"], "Go on?" in said) == (0, 0, False)


@pytest.mark.parametrize("command", [("--yes",), ("--dry-run",)])
def test_purge_of_an_unknown_key_says_where_the_right_one_is(deployment: dict[str, str], command: tuple[str]) -> None:
    answer = run("purge", "--key", "0" * 64, *command, "--json", **deployment)
    assert (answer.returncode, json.loads(answer.stdout)["generations"]) == (0, 0)
    assert "nothing is known of this key" in answer.stderr
    assert "X-Copperplate-Generation-Key" in answer.stderr


def test_a_cleanup_of_what_the_cron_removes_asks_nothing(deployment: dict[str, str]) -> None:
    assert run("cleanup", **deployment).returncode == 0


def test_a_reset_says_what_the_database_holds_and_asks(tmp_path: Path) -> None:
    folder = {"COPPERPLATE_DATA_DIR": str(tmp_path)}
    assert run("migrate", **folder).returncode == 0
    code, _, said = run_on_a_terminal("n", "dev", "--reset", "--port", "0", **folder)
    assert code == 1
    assert "0 generations and 0 accounts" in said
    assert "is empty again" not in said


def test_purge_of_nothing_in_particular_is_refused(deployment: dict[str, str]) -> None:
    answer = run("purge", "--dry-run", **deployment)
    assert answer.returncode == 2
    assert "--prompt" in answer.stderr


@pytest.mark.parametrize(
    "condition", [("--prefix", ""), ("--prefix", "zz"), ("--prompt", ""), ("--model", " "), ("--key", "abc")]
)
def test_purge_by_a_variable_that_was_never_set_is_refused(
    deployment: dict[str, str], condition: tuple[str, str]
) -> None:
    answer = run("purge", *condition, **deployment)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert condition[0] in answer.stderr


# --- doctor ----------------------------------------------------------------------------------------


def test_doctor_finds_a_whole_deployment_well_and_leaves_nothing_behind(
    deployment: dict[str, str], tmp_path: Path
) -> None:
    answer = run("doctor", "--generate", **deployment)
    found = findings(answer)
    assert answer.returncode == 0, answer.stdout
    assert {level for level, _ in found.values()} == {"ok"}
    assert list(found) == [
        "database", "pooler", "migrations", "clock", "objects", "rights", "budget", "access", "generated-images",
        "memoji-images", "processed-images", "provider", "cron secret", "miss and hit",
    ]  # fmt: skip
    assert CRON_SECRET not in answer.stdout + answer.stderr
    assert "postgresql://" not in answer.stdout + answer.stderr
    # The picture's two objects wait for their grace; the probe's is gone.
    assert len(list(tmp_path.rglob("*.???"))) == 2


def test_doctor_says_what_to_do_about_each_thing_that_is_wrong(deployment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("a file in the way")
    ahead = f"{deployment['DATABASE_URL']}&options=-c%20copperplate.clock_offset%3D1h"
    sick = {**deployment, "DATABASE_URL": ahead, "COPPERPLATE_PROVIDER": "openai", "CRON_SECRET": ""}
    answer = run("doctor", "--generate", **sick)
    found = findings(answer)
    assert answer.returncode == 1
    assert found["generated-images"] == ("failed", found["generated-images"][1])
    assert "a file is in the way" in found["generated-images"][1]
    assert "NTP" in found["clock"][1]
    assert "OPENAI_API_KEY" in found["provider"][1]
    assert found["cron secret"][0] == "warning"
    assert "openssl" in found["cron secret"][1]
    assert found["miss and hit"] == ("failed", "not tried: mend the above first")


def test_doctor_of_an_empty_database_says_migrate(cluster: Cluster, deployment: dict[str, str]) -> None:
    name = f"empty_{uuid4().hex[:8]}"
    create_database(cluster.superuser_url, name, template="postgres")
    answer = run("doctor", **{**deployment, "DATABASE_URL": cluster.url(database=name)})
    assert answer.returncode == 1
    assert "copperplate migrate" in findings(answer)["database"][1]


def test_doctor_reports_every_setting_that_is_wrong_and_looks_at_the_rest(deployment: dict[str, str]) -> None:
    wrong = {**deployment, "PORT": "http", "CRON_SECRET": "short", "COPPERPLATE_HEARTBEAT_SECONDS": "6"}
    answer = run("doctor", "--generate", **wrong)
    assert answer.returncode == 1
    assert re.findall(r"^failed +settings +(\w+)", answer.stdout, re.MULTILINE) == [
        "CRON_SECRET", "PORT", "COPPERPLATE_HEARTBEAT_SECONDS",
    ]  # fmt: skip
    found = findings(answer)
    assert {
        found[what][0] for what in ("database", "migrations", "objects", "rights", "memoji-images", "provider")
    } == {"ok"}
    assert found["miss and hit"] == ("failed", "not tried: mend the above first")


@pytest.mark.parametrize(
    ("variable", "value", "left_out"),
    [
        ("COPPERPLATE_ACCESS", "closed", {"budget", "access"}),
        ("COPPERPLATE_DAILY_BUDGET_USD", "five", {"budget"}),
        ("COPPERPLATE_URL_SIGNING_KEYS", "one:short", {"access"}),
        ("PORT", "http", set()),
    ],
)
def test_doctor_says_nothing_of_who_may_spend_by_what_was_not_meant(
    deployment: dict[str, str], variable: str, value: str, left_out: set[str]
) -> None:
    found = findings(run("doctor", **{**deployment, variable: value}))
    assert variable in found["settings"][1]
    for what in ("budget", "access"):
        not_told = ("failed", "not looked at: mend the settings first")
        assert (found[what] == not_told) is (what in left_out)


def test_doctor_looks_at_no_other_database_than_the_one_that_was_meant(
    deployment: dict[str, str], tmp_path: Path
) -> None:
    answer = run("doctor", **{**deployment, "DATABASE_URL": "mysql://me:hunter2@db/x"})
    found = findings(answer)
    assert answer.returncode == 1
    assert "DATABASE_URL" in found["settings"][1]
    assert found["database"] == ("failed", "not looked at: mend the settings first")
    assert {found["provider"][0], found["cron secret"][0]} == {"ok"}
    assert list(tmp_path.iterdir()) == [], "none was started instead"
    assert "hunter2" not in answer.stdout + answer.stderr


def test_doctor_tells_what_was_dropped_and_goes_on(deployment: dict[str, str]) -> None:
    with connect(deployment["DATABASE_URL"], autocommit=True) as owner:
        owner.execute("drop function public.check_setup()")
        owner.execute("drop function public.get_generation_stats()")
    answer = run("doctor", **deployment)
    found = findings(answer)
    assert answer.returncode == 1
    assert found["database"][0] == found["rights"][0] == "failed"
    for name, file in (("check_setup", "create_checks"), ("get_generation_stats", "create_statistics")):
        assert re.search(rf"objects +function public.{name}\(\) is gone: .*_{file}.sql", answer.stdout), answer.stdout
    assert (found["memoji-images"][0], found["provider"][0]) == ("ok", "ok")


def test_doctor_of_an_older_schema_says_so(deployment: dict[str, str]) -> None:
    with connect(deployment["DATABASE_URL"], autocommit=True) as owner:
        owner.execute(
            "create or replace function public.check_setup() returns jsonb language sql as "
            """$$ select '{"schema": "20200101000000", "postgres": "18", "now": 0, "buckets": null}'::jsonb $$"""
        )
    answer = run("doctor", **deployment)
    assert answer.returncode == 1
    assert "20200101000000" in findings(answer)["migrations"][1]


def test_doctor_of_a_database_that_is_away_names_it_without_its_password(deployment: dict[str, str]) -> None:
    answer = run("doctor", **{**deployment, "DATABASE_URL": "postgresql://me:hunter2hunter2@127.0.0.1:9/x"})
    assert answer.returncode == 1
    assert findings(answer)["database"][0] == "failed"
    assert "hunter2" not in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr


def test_doctor_says_of_each_bucket_what_is_in_the_way_and_what_to_do(
    project_variables: dict[str, str], storage_state_of_project: StorageState
) -> None:
    images, memoji = (storage_state_of_project.buckets[name] for name in ("generated-images", "memoji-images"))
    images.public = memoji.public = False
    private = findings(run("doctor", **project_variables))
    assert private["generated-images"][0] == "warning"
    assert private["memoji-images"][0] == "failed"
    assert "answer 400 to everybody: make it public" in private["memoji-images"][1]
    images.allowed_mime_types = ["image/png"]
    del storage_state_of_project.buckets["memoji-images"]
    refusing = findings(run("doctor", **project_variables))
    assert "does not take image/jpeg, image/webp" in refusing["generated-images"][1]
    assert "run `copperplate migrate` with DATABASE_URL set" in refusing["memoji-images"][1]


def test_doctor_of_a_supabase_project_looks_at_its_bucket_and_its_objects_too(
    project: Supabase, project_variables: dict[str, str], owner_url: str
) -> None:
    answer = run("doctor", "--generate", "--json", **project_variables)
    found = {each["what"]: each for each in json.loads(answer.stdout)}
    assert answer.returncode == 0, answer.stdout
    assert "SUPABASE_URL" in found["database"]["said"]
    for bucket in ("generated-images", "memoji-images"):
        assert found[bucket]["said"] == "written, read and removed"
    assert project.secret_key not in answer.stdout + answer.stderr
    assert found["objects"]["level"] == "ok"
    with connect(owner_url, autocommit=True) as owner:
        owner.execute("grant select on public.generation_status to anon")
    changed = run("doctor", **project_variables)
    assert changed.returncode == 1
    assert "revoke select on table public.generation_status from public, anon" in findings(changed)["objects"][1]
    wrong = run("doctor", **{**project_variables, "SUPABASE_SECRET_KEY": "sb_secret_of-another-project"})
    assert wrong.returncode == 1
    assert "SUPABASE_SECRET_KEY" in wrong.stdout
    assert "another-project" not in wrong.stdout + wrong.stderr
