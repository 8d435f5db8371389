"""`takedown`, `pin` and `unpin` as a person runs them, over a real Postgres and over a Supabase project."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from copperplate.compose import open_services
from copperplate.denials import TakenDown
from copperplate.model import Outcome
from copperplate.settings import Settings
from copperplate.testing import GENERATE
from tests.e2e.test_cli import run
from tests.e2e.test_operations import deployment, make, project_variables, run_on_a_terminal
from tests.support.pictures import picture_request

if TYPE_CHECKING:
    from tests.standin.storage_state import StorageState

__all__ = ["deployment", "project_variables"]
KEY, PICTURE = picture_request("wrong").generation_key, picture_request("wrong").rendition_key
UNKNOWN = "0" * 64


def is_gone(variables: dict[str, str], prompt: str) -> bool:
    """Whether a server refuses it for good."""

    async def ask() -> bool:
        async with open_services(Settings.from_env(variables)) as services:
            try:
                await services.renditions.read(picture_request(prompt), GENERATE)
            except TakenDown:
                return True
            return False

    return asyncio.run(ask())


def test_a_takedown_removes_a_picture_for_good_and_is_lifted(deployment: dict[str, str]) -> None:
    make(deployment, "wrong", "right")
    done = run("takedown", PICTURE, "--reason", "a letter", "--yes", "--json", **deployment)
    told = json.loads(done.stdout)
    assert (told["key"], told["found"], told["is_new"], told["generations"], told["images"]) == (
        KEY, "picture", True, 1, 2,
    )  # fmt: skip
    assert is_gone(deployment, "wrong")
    assert make(deployment, "right") == [Outcome.HIT]
    again = run("takedown", KEY, "--yes", **deployment)
    assert (again.returncode, "taken down before" in again.stderr) == (0, True)
    lifted = run("takedown", "--lift", PICTURE, **deployment)
    assert (lifted.returncode, "is lifted" in lifted.stderr) == (0, True)
    assert make(deployment, "wrong") == [Outcome.GENERATED]
    refused = run("takedown", "--lift", KEY, "--json", **deployment)
    assert (refused.returncode, refused.stdout, "[not_taken_down]" in refused.stderr) == (1, "", True)


def test_a_takedown_of_what_nobody_asked_for_says_what_was_found(deployment: dict[str, str]) -> None:
    code, output, said = run_on_a_terminal("n", "takedown", KEY, "--json", **deployment)
    told = json.loads(output)
    assert (code, told["found"], told["generations"], "Go on?" in said) == (0, "nothing", 0, False)
    assert "nothing is known of this key" in said
    assert is_gone(deployment, "wrong")


def test_a_takedown_of_an_unknown_key_promises_no_more_than_it_does(deployment: dict[str, str]) -> None:
    """It may be the key of one format, of which no generation is known."""
    told = run("takedown", PICTURE, "--yes", **deployment).stderr
    assert "generation" not in told.partition("X-Copperplate-Generation-Key")[0]
    for part in ("nothing is known of this key", "its other forms are served", "copperplate explain URL", "--lift"):
        assert part in told


@pytest.mark.parametrize("address", ["https://example.com/64x64.png?text=a%20fox", "/64x64.png?text=a+fox"])
def test_an_address_in_place_of_a_key_is_answered_with_the_command_that_tells_its_keys(
    deployment: dict[str, str], address: str
) -> None:
    for command in (("takedown",), ("pin",), ("purge", "--key")):
        answer = run(*command, address, **deployment)
        assert (answer.returncode, "`copperplate explain URL`" in answer.stderr) == (2, True)
    assert "explain" not in run("takedown", "abc", **deployment).stderr


def test_a_takedown_asks_first_and_needs_yes_where_nobody_can_be_asked(deployment: dict[str, str]) -> None:
    make(deployment, "wrong")
    refused = run("takedown", PICTURE, **deployment)
    assert (refused.returncode, refused.stdout, "--yes" in refused.stderr) == (2, "", True)
    code, output, said = run_on_a_terminal("n", "takedown", PICTURE, **deployment)
    assert (code, output) == (1, "")
    assert "2 pictures of 1 generation" in said
    assert make(deployment, "wrong") == [Outcome.HIT]
    assert run_on_a_terminal("y", "takedown", PICTURE, **deployment)[0] == 0
    assert is_gone(deployment, "wrong")


def test_a_takedown_of_a_project_reaches_its_objects_and_its_cdn(
    project_variables: dict[str, str], storage_state_of_project: StorageState
) -> None:
    make(project_variables, "wrong", "right")
    kept = storage_state_of_project.buckets["generated-images"].objects
    before = set(kept)
    storage_state_of_project.tell("cdn", "http_503")
    failed = run("takedown", PICTURE, "--yes", **project_variables)
    # It is done but for copies in CDNs, which the work step tells again.
    assert (failed.returncode, "[cdn_unavailable]" in failed.stderr) == (0, True)
    assert len(before - set(kept)) == 3, "the original, the picture and its WebP are gone from the store"
    assert is_gone(project_variables, "wrong")
    storage_state_of_project.scenario_log.clear()
    # Again, and the CDN is asked for the same objects.
    assert run("takedown", PICTURE, "--yes", **project_variables).returncode == 0
    assert set(storage_state_of_project.purged) == {f"generated-images/{path}" for path in before - set(kept)}


def test_a_pin_keeps_a_picture_from_cleanup_and_from_a_purge_by_filter(deployment: dict[str, str]) -> None:
    make(deployment, "wrong", "old")
    pinned = run("pin", PICTURE, **deployment)
    assert (pinned.returncode, f"{KEY} is pinned" in pinned.stderr) == (0, True)
    assert "as it was before" in run("pin", KEY, **deployment).stderr
    later = {**deployment, "DATABASE_URL": f"{deployment['DATABASE_URL']}&options=-c%20copperplate.clock_offset%3D40d"}
    assert json.loads(run("cleanup", "--json", **later).stdout)["images"] == 2
    model = picture_request().model
    left = run("purge", "--model", model, "--yes", "--json", **deployment)
    assert (json.loads(left.stdout)["generations"], json.loads(left.stdout)["pinned"]) == (0, 1)
    assert "--with-pinned" in left.stderr
    assert make(deployment, "wrong") == [Outcome.HIT]
    unpinned = json.loads(run("unpin", PICTURE, "--json", **deployment).stdout)
    assert unpinned == {"key": KEY, "status": "completed", "pinned": False, "is_new": True}
    run("pin", KEY, **deployment)
    taken = run("purge", "--model", model, "--with-pinned", "--yes", "--json", **deployment)
    assert json.loads(taken.stdout)["generations"] == 1


@pytest.mark.parametrize("command", ["pin", "unpin"])
def test_a_pin_of_an_unknown_key_says_what_to_do(deployment: dict[str, str], command: str) -> None:
    answer = run(command, UNKNOWN, **deployment)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "X-Copperplate-Generation-Key of an answer, and `copperplate explain URL`" in answer.stderr


@pytest.mark.parametrize("command", ["takedown", "pin", "unpin"])
@pytest.mark.parametrize("key", ["", "abc", "A" * 64, "0" * 63, "0" * 65, "0" * 63 + "g", "https://example.com"])
def test_what_is_no_key_is_refused(deployment: dict[str, str], command: str, key: str) -> None:
    answer = run(command, key, **deployment)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "64 of 0-9 and a-f" in answer.stderr


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_a_reason_is_short_and_not_empty(deployment: dict[str, str], reason: str) -> None:
    answer = run("takedown", KEY, "--yes", "--reason", reason, **deployment)
    assert (answer.returncode, "1 to 500 characters" in answer.stderr) == (2, True)
