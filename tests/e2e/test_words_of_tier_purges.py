"""What `copperplate purge --tier` says and how it ends where a tier is not reached from here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from psycopg import connect

from copperplate.model import Outcome
from tests.e2e.test_cli import run
from tests.e2e.test_operations import make, run_on_a_terminal
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase

UNKNOWN = "0" * 64
NOT_FROM_HERE = (
    "Vercel's CDN was not told from here, COPPERPLATE_VERCEL_TOKEN is not set: the purge waits in the database"
)


@pytest.fixture
def deployment(owner_url: str, tmp_path: Path) -> dict[str, str]:
    """The variables of one without Supabase, CDN and Redis."""
    return {"DATABASE_URL": owner_url, "COPPERPLATE_DATA_DIR": str(tmp_path)}


@pytest.fixture
def project_variables(project: Supabase, tmp_path: Path) -> dict[str, str]:
    """The variables of one with Supabase, which paints."""
    return {
        "SUPABASE_URL": project.url,
        "SUPABASE_SECRET_KEY": project.secret_key,
        "COPPERPLATE_PROVIDER": "painter",
        "COPPERPLATE_DATA_DIR": str(tmp_path),
    }


def test_a_purge_of_cdns_that_the_deployment_tells_says_so_and_is_done(
    deployment: dict[str, str], owner_url: str
) -> None:
    alone = run("purge", "--tier", "cdn", "--all", "--yes", "--json", **deployment)
    assert alone.returncode == 0
    assert NOT_FROM_HERE in alone.stderr
    assert "the next work step of the deployment tells it" in alone.stderr
    assert json.loads(alone.stdout)["cdn"]["is_everything"]
    with connect(owner_url) as connection:
        waiting = connection.execute("select count(*) from copperplate.cdn_purges where scope = 'tag'").fetchone()
    assert waiting == (1,)
    beside = run("purge", "--tier", "cdn", "--tier", "memory", "--all", "--yes", **deployment)
    assert beside.returncode == 0
    assert NOT_FROM_HERE in beside.stderr
    assert "memory at most entries=" in beside.stdout
    dry = run("purge", "--tier", "cdn", "--all", "--dry-run", **deployment)
    assert (dry.returncode, dry.stderr) == (0, "")


def test_what_waits_for_vercels_cdn_is_said_where_storages_was_told(project_variables: dict[str, str]) -> None:
    make(project_variables, "wrong")
    key = picture_request("wrong").generation_key
    done = run("purge", "--tier", "cdn", "--key", key, "--yes", **project_variables)
    assert done.returncode == 0
    assert "CDNs were told to forget 3 copies" in done.stderr
    assert NOT_FROM_HERE in done.stderr


def test_a_purge_of_redis_that_is_not_set_here_says_so(deployment: dict[str, str]) -> None:
    done = run("purge", "--tier", "redis", "--all", "--yes", **deployment)
    assert done.returncode == 0
    assert "Redis was not reached, REDIS_URL is not set here" in done.stderr


NOTHING = "nothing is known of this key, and nothing was removed"


@pytest.mark.parametrize(
    ("tier", "said"),
    [
        ("memory", "nothing is known of this key; copies of it in memory are declared wrong all the same"),
        ("redis", NOTHING),  # it is not reached
        ("cdn", "nothing is known of this key; copies of it in cdn are declared wrong all the same"),
        ("storage", NOTHING),
    ],
)
def test_of_an_unknown_key_every_tier_says_what_was_done(deployment: dict[str, str], tier: str, said: str) -> None:
    asked = ("purge", "--tier", tier, "--key", UNKNOWN)
    done = run(*asked, "--yes", **deployment)
    assert done.returncode == 0
    assert said in done.stderr
    assert ("Redis was not reached" in done.stderr) == (tier == "redis")
    assert (NOT_FROM_HERE in done.stderr) == (tier == "cdn")
    counted = run(*asked, "--dry-run", **deployment).stderr
    assert NOTHING in counted
    assert "wrong" not in counted


def test_where_nothing_meets_the_condition_nothing_is_said_of_what_would_be_dropped(deployment: dict[str, str]) -> None:
    tiers = ("--tier", "memory", "--tier", "redis", "--tier", "cdn")
    done = run("purge", *tiers, "--prompt", "nobody's", "--yes", **deployment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cdn keys=0 objects=0" in done.stdout


def test_consent_to_dropping_copies_speaks_of_copies(deployment: dict[str, str]) -> None:
    refused = run("purge", "--tier", "disk", "--all", **deployment)
    assert refused.returncode == 2
    assert "this drops copies" in refused.stderr
    code, _, said = run_on_a_terminal("no", "purge", "--tier", "memory", "--all", **deployment)
    assert code == 1
    assert "This drops at most" in said
    assert "nothing was dropped" in said


def test_a_command_that_takes_purges_of_others_removes_their_objects_first(
    project_variables: dict[str, str], storage_state_of_project: StorageState, owner_url: str
) -> None:
    make(project_variables, "wrong", "right")
    kept = storage_state_of_project.buckets["generated-images"].objects
    before = set(kept)
    with connect(owner_url) as connection:
        connection.execute("delete from public.image_cache where prompt = 'wrong'")
    assert run("purge", "--tier", "cdn", "--prompt", "nobody's", "--yes", **project_variables).returncode == 0
    gone = before - set(kept)
    assert len(gone) == 3
    assert sorted(storage_state_of_project.purged) == sorted(f"generated-images/{path}" for path in gone)


def test_a_purge_of_cdns_leaves_the_objects_in_the_store_and_they_are_served(
    project_variables: dict[str, str], storage_state_of_project: StorageState
) -> None:
    make(project_variables, "wrong")
    kept = storage_state_of_project.buckets["generated-images"].objects
    before = dict(kept)
    assert len(before) == 3
    key = picture_request("wrong").generation_key
    assert run("purge", "--tier", "cdn", "--key", key, "--yes", **project_variables).returncode == 0
    assert sorted(storage_state_of_project.purged) == sorted(f"generated-images/{path}" for path in before)
    assert kept == before
    assert make(project_variables, "wrong") == [Outcome.HIT]


def test_a_daily_cron_tells_the_cdn_of_what_was_deleted_since_the_last_one(
    project_variables: dict[str, str], storage_state_of_project: StorageState, owner_url: str
) -> None:
    make(project_variables, "wrong")
    with connect(owner_url) as connection:
        connection.execute("delete from public.image_cache where prompt = 'wrong'")
        connection.execute(
            "update copperplate.cdn_purges set declared_at = declared_at - interval '25 hours', "
            "due_at = due_at - interval '25 hours'"
        )
    assert run("work", "--once", **project_variables).returncode == 0
    assert len(storage_state_of_project.purged) == 3
