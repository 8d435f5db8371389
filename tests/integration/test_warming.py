"""`copperplate warm` over a real Postgres and a stand-in that counts: killed or stopped, nothing is paid twice."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from copperplate.cli import main
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from copperplate.compose import open_services
from copperplate.http.app import create_app
from copperplate.operations import warming
from copperplate.settings import Settings
from tests.e2e.dev_server import inherited, wait_until
from tests.support.commands import COPPERPLATE
from tests.support.postgres_fixtures import making_databases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from copperplate.local.cluster import Cluster
    from tests.standin.server import Standin

    Warm = Callable[..., tuple[int, dict[str, Any]]]

LISTED, EXISTING, MADE, AT_ONCE = 20, 8, 4, 4
PAGE = Path(__file__).parents[2] / "docs" / "warming.md"
# Small ones are drawn and encoded quickly.
SIZE = "64x64"


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Iterator[str]:
    with making_databases(cluster) as make:
        yield cluster.url(database=make())


@pytest.fixture
def settings(database: str, standin: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command is told by its environment, here and in processes of its own."""
    told = {
        "DATABASE_URL": database,
        "COPPERPLATE_DATA_DIR": str(tmp_path / "data"),
        "FAL_KEY": "stand-in",
        "COPPERPLATE_FAL_QUEUE_URL": standin.url,
        "COPPERPLATE_LEASE_SECONDS": "2",
        "COPPERPLATE_HEARTBEAT_SECONDS": "0.5",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(warming, "LOOK_SECONDS", 0.05)


@pytest.fixture
def warm(settings: None, capsys: pytest.CaptureFixture[str]) -> Warm:
    """Runs the command in this process; its exit code, and what it printed for programs."""

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main(["warm", "--dimensions", SIZE, *arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


@contextmanager
def started(file: Path) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own."""
    command = [COPPERPLATE, "warm", str(file), "--limit", str(AT_ONCE), "--dimensions", SIZE]
    # A shell that starts the tests in the background has its children ignore Ctrl-C.
    with inherited(signal.SIGINT, signal.SIG_DFL):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def write(path: Path, name: str, number: int) -> Path:
    path.write_text("".join(f"{name} {each}\n" for each in range(number)))
    return path


def posts_of(standin: Standin) -> int:
    return sum(standin.scenario_log.posts.values())


def query(database: str, statement: str) -> Any:
    with psycopg.connect(database, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchone()


def noted(database: str) -> int:
    """How many jobs of fal that are under way are known by their ids."""
    found = query(database, "select count(*) from public.generation_status where phase = 'submitted'")
    return int(found[0])


def open_wishes(database: str) -> int:
    """How many pictures are still promised."""
    return int(query(database, "select count(*) from copperplate.wishes where status = 'open'")[0])


def hold_back(standin: Standin, name: str, *, quick: int) -> None:
    """The first pictures come at once, and the others when they are let go."""
    standin.scenario_log.tell("*", "slow=600")
    for number in range(quick):
        standin.scenario_log.tell(f"{name} {number}", "ok")


def let_go(standin: Standin) -> None:
    """What was held back is there, and nothing is held back any more."""
    standin.scenario_log.told.clear()
    for drawing in standin.scenario_log.drawings.values():
        drawing.begun -= 600


async def ask(path: str, *, times: int) -> list[httpx.Response]:
    """Ask the application, as a server has it, one after the other."""
    async with open_services(Settings.from_env()) as services:
        transport = httpx.ASGITransport(create_app(services=services))
        async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
            return [await client.get(path) for _ in range(times)]


def wait_for_full_hands(database: str, standin: Standin, posts: int) -> None:
    """Until nothing is being submitted: a submit whose answer dies with its process is paid twice."""
    wait_until(
        lambda: noted(database) == AT_ONCE and posts_of(standin) == posts, seconds=30, what=f"{posts} noted submits"
    )


def test_a_run_that_is_killed_is_gone_on_with_and_no_picture_is_paid_twice(
    database: str, standin: Standin, warm: Warm, tmp_path: Path
) -> None:
    assert warm(str(write(tmp_path / "some.txt", "fox", EXISTING)))[1]["made"] == EXISTING
    hold_back(standin, "fox", quick=EXISTING + MADE)
    listed = write(tmp_path / "all.txt", "fox", LISTED)
    with started(listed) as process:
        wait_for_full_hands(database, standin, EXISTING + MADE + AT_ONCE)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    let_go(standin)
    code, figures = warm(str(listed))
    assert (code, figures["failed"], figures["left"]) == (0, 0, 0)
    assert (figures["existing"], figures["made"]) == (EXISTING + MADE, LISTED - EXISTING - MADE)
    assert set(standin.scenario_log.posts.values()) == {1}
    assert posts_of(standin) == LISTED
    assert warm(str(listed))[1]["existing"] == LISTED


def test_a_run_that_is_interrupted_spends_nothing_more_and_the_same_command_goes_on(
    database: str, standin: Standin, warm: Warm, tmp_path: Path
) -> None:
    hold_back(standin, "hare", quick=1)
    listed = write(tmp_path / "hares.txt", "hare", 8)
    with started(listed) as process:
        wait_for_full_hands(database, standin, 1 + AT_ONCE)
        process.send_signal(signal.SIGINT)
        wait_until(lambda: open_wishes(database) == AT_ONCE, seconds=30, what="the withdrawal of the rest")
        let_go(standin)
        printed, said = process.communicate(timeout=60)
    assert process.returncode == EXIT_INTERRUPTED, said
    # What was under way landed: it was paid.
    assert ["made", "5"] in [line.split() for line in printed.splitlines()]
    assert "stopped: 3 are left, and the same command goes on with them" in said
    assert posts_of(standin) == 1 + AT_ONCE
    assert open_wishes(database) == 0
    assert warm(str(listed))[1]["made"] == 3
    assert posts_of(standin) == 8


def test_a_dry_run_says_what_it_would_come_to_and_writes_nothing(
    database: str, standin: Standin, warm: Warm, tmp_path: Path
) -> None:
    kept = "select (select count(*) from copperplate.batches), (select max(id) from copperplate.wishes)"
    warm(str(write(tmp_path / "some.txt", "owl", 1)))
    before = query(database, kept)
    code, plan = warm(str(write(tmp_path / "all.txt", "owl", 3)), "--dry-run", "--limit", "1")
    assert (code, plan["pictures"], plan["existing"], plan["missing"], plan["requests_to_break_even"]) == (
        0,
        3,
        1,
        2,
        2,
    )
    assert (plan["cost_usd"], plan["booked_usd"], plan["unknown_prices"]) == (0.006, 0.006, 0)
    assert plan["seconds"] >= 1
    assert posts_of(standin) == 1
    assert query(database, kept) == before


def test_the_page_on_warming_shows_what_the_command_prints(
    warm: Warm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warm(str(write(tmp_path / "some.txt", "stork", 4)))
    listed = write(tmp_path / "prompts.txt", "stork", 10)
    listed.write_text(f"# For the page\n{listed.read_text()}stork 3\n")
    assert main(["warm", str(listed), "--dry-run", "--dimensions", SIZE]) == 0
    printed = capsys.readouterr().out
    [shown] = re.findall(r"--dry-run\n```\n\n```\n(.*?)```", PAGE.read_text(), re.DOTALL)

    def lines(text: str) -> list[str]:
        return [re.sub(r"^(seconds +)\d+$", r"\1N", line) for line in text.splitlines()]

    # What the page leaves out stands in its own words.
    assert [line for line in lines(printed) if not line.startswith("break even: ")] == lines(shown)


def test_money_pays_for_as_many_as_it_does_and_the_rest_is_named(standin: Standin, warm: Warm, tmp_path: Path) -> None:
    code, figures = warm(str(write(tmp_path / "wrens.txt", "wren", 4)), "--max-usd", "0.0089")
    assert (code, figures["made"], figures["left_out"], figures["left_out_lines"]) == (0, 2, 2, [3, 4])
    assert figures["booked_usd"] == 0.006
    assert posts_of(standin) == 2


def test_one_faulty_line_spends_nothing(
    database: str, standin: Standin, settings: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "list.csv"
    file.write_text("prompt,dimensions\na newt,64x64\na newt,7x7\n,64x64\n")
    assert main(["warm", str(file)]) == EXIT_USAGE
    said = capsys.readouterr().err
    assert "line 3: " in said
    assert "[invalid_size]" in said
    assert "line 4: " in said
    assert "copperplate: 2 faulty items. Mend the list: nothing was spent [usage]" in said
    assert posts_of(standin) == 0


def test_a_refused_prompt_is_a_failure_of_its_line_and_the_others_are_made(
    standin: Standin, warm: Warm, tmp_path: Path
) -> None:
    standin.scenario_log.tell("toad 1", "moderated")
    code, figures = warm(str(write(tmp_path / "toads.txt", "toad", 3)))
    assert (code, figures["made"], figures["failed_by_code"]) == (EXIT_FAILED, 2, {"moderated": 1})
    assert figures["failures"] == [{"line": 2, "code": "moderated"}]


def test_memoji_are_warmed_for_no_credit_and_images_in_the_form_asked_for(
    database: str, standin: Standin, warm: Warm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "stand-in")
    monkeypatch.setenv("OPENAI_BASE_URL", standin.openai_url)
    listed = tmp_path / "list.jsonl"
    listed.write_text('{"kind": "memoji", "familyType": "mother"}\n{"prompt": "a lynx", "format": "png"}\n')
    reservations = "select count(*) from copperplate.reservations"
    before = query(database, reservations)
    code, figures = warm(str(listed))
    assert (code, figures["made"], len(standin.scenario_log.posts)) == (0, 2, 2)
    assert query(database, reservations) == before
    formats = "select array_agg(c.format order by c.format) from public.image_cache as c where c.prompt = 'a lynx'"
    assert query(database, formats) == (["png", "webp"],)
    booked = (
        "select count(*) from copperplate.wishes where kind = 'memoji' and charge_user is null and spending is not null"
    )
    assert query(database, booked) == (1,)


def test_what_was_warmed_and_asked_for_is_told_by_stats(
    database: str, standin: Standin, warm: Warm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stats() -> dict[str, Any]:
        capsys.readouterr()
        assert main(["stats", "--json"]) == 0
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        return told

    before = stats()
    warm(str(write(tmp_path / "moles.txt", "mole", 3)))
    answers = asyncio.run(ask(f"/{SIZE}.jpg?text=mole%201", times=2))
    assert [(answer.status_code, answer.headers["x-cache"]) for answer in answers] == [(200, "HIT")] * 2
    after = stats()
    grown = {name: round(after[name] - before[name], 6) for name in after if name.startswith("warmed")}
    assert grown == {
        "warmed_pictures": 3,
        "warmed_and_asked_for": 1,
        "warmed_requests": 2,
        "warmed_usd": 0.009,
        "warmed_in_vain_usd": 0.006,
    }
    assert posts_of(standin) == 3


def test_what_was_asked_for_most_is_warmed_in_another_size(
    database: str, standin: Standin, warm: Warm, tmp_path: Path
) -> None:
    warm(str(write(tmp_path / "crows.txt", "crow", 2)))
    query(database, "update public.generation_status set total_requests = 999 where prompt = 'crow 1' returning 1")
    standin.scenario_log.posts.clear()
    code, figures = warm("--popular", "7", "--top", "1", "--dimensions", "128x64")
    assert (code, figures["made"], dict(standin.scenario_log.posts)) == (0, 1, {"crow 1": 1})
    code, figures = warm("--popular", "7", "--top", "1", "--dimensions", "128x64")
    assert (code, figures["existing"], figures["made"]) == (0, 1, 0)
