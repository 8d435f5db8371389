"""Memoji and credits over real processes, a real Postgres, and a stand-in for OpenAI that counts what it is asked."""

from __future__ import annotations

import json
import os
import random
import signal
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from copperplate.adapters.supabase.users import make_local_token
from copperplate.recipes.memoji_words import COLOR_THEMES, GESTURES, HAIR
from tests.e2e.dev_server import DevServer, dev_server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standin.server import Standin

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n"
SCALED = {"COPPERPLATE_LEASE_SECONDS": "5", "COPPERPLATE_HEARTBEAT_SECONDS": "1"}
ALL_HAIR = list(HAIR)
# A client reads them anew unless it is given them: twenty milliseconds of CPU for each of hundreds.
CERTIFICATES = ssl.create_default_context()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, standin_server: Standin) -> Iterator[DevServer]:
    """Four processes whose memoji OpenAI's stand-in makes."""
    folder = tmp_path_factory.mktemp("memoji")
    openai = {"OPENAI_API_KEY": "sk-standin", "OPENAI_BASE_URL": standin_server.openai_url}
    with dev_server(folder / "dev", workers=4, **openai, **SCALED) as running:
        yield running


class Person:
    """Somebody signed in, at a server."""

    def __init__(self, server: DevServer, *, granted: int = 0) -> None:
        self.id = uuid4()
        self._server = server
        self.token = make_local_token(self.id, server.jwt_secret, seconds=3_600)
        if granted:
            with psycopg.connect(server.database_url, autocommit=True) as connection:
                connection.execute("select public.grant_credits(%s, %s, %s)", [self.id, granted, str(uuid4())])

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    def ask(self, configuration: dict[str, Any], **headers: str) -> httpx.Response:
        """Over a connection of its own, so that any of the processes answers."""
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        url = f"http://127.0.0.1:{self._server.port}/api/generate-memoji"
        return httpx.post(url, json=configuration, headers=sent, timeout=60, verify=CERTIFICATES)

    def ask_many(self, configurations: list[dict[str, Any]], **headers: str) -> list[httpx.Response]:
        with ThreadPoolExecutor(64) as pool:
            return list(pool.map(lambda each: self.ask(each, **headers), configurations))

    def credits(self) -> dict[str, int]:
        answer = httpx.get(
            f"http://127.0.0.1:{self._server.port}/api/credits", headers=self.headers, verify=CERTIFICATES, timeout=60
        )
        found: dict[str, int] = answer.json()["credits"]
        return found


def spelled(rng: random.Random, hair: str) -> dict[str, Any]:
    """The same wish, as somebody else may write it."""
    wish: dict[str, Any] = {"hair": rng.choice((hair, hair.upper(), f" {hair} ")), "accessories": ["hat", "scarf"]}
    rng.shuffle(wish["accessories"])
    if rng.random() < 0.5:
        wish["accessories"].append("HAT")
    if rng.random() < 0.5:
        wish |= {"familyType": "Father", "size": None, "colorTheme": rng.choice(("pastel-blue", "Pastel Blue"))}
    return wish


def audit(server: DevServer) -> dict[str, Any]:
    told = server.run("credits", "audit", "--json")
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def posts(standin: Standin) -> int:
    return sum(standin.scenario_log.posts.values())


def test_a_hundred_equal_wishes_in_different_spellings_are_one_call_and_one_credit(
    server: DevServer, standin: Standin
) -> None:
    standin.scenario_log.tell("*", "slow:1")
    person = Person(server, granted=5)
    rng = random.Random(1)
    answers = person.ask_many([spelled(rng, "curly") for _ in range(100)])
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    assert len({answer.json()["url"] for answer in answers}) == 1
    assert posts(standin) == 1
    assert person.credits() == {"balance": 4, "held": 0, "available": 4}
    picture = httpx.get(answers[0].json()["url"])
    assert picture.content.startswith(PNG)


def test_strangers_without_credit_get_what_one_of_them_pays(server: DevServer, standin: Standin) -> None:
    standin.scenario_log.tell("*", "held")
    payer, others = Person(server, granted=1), [Person(server) for _ in range(8)]
    with ThreadPoolExecutor(9) as pool:
        paid = pool.submit(payer.ask, {"hair": "afro"})
        wait_until(lambda: payer.credits()["held"] == 1, seconds=30, what="the credit is held")
        waited = [pool.submit(each.ask, {"hair": "afro"}) for each in others]
        time.sleep(1)  # so that most of them wait; who comes later is served from the cache, and no worse
        standin.scenario_log.release()
        answers = [each.result() for each in (paid, *waited)]
    assert {answer.status_code for answer in answers} == {200}
    assert posts(standin) == 1
    assert payer.credits()["balance"] == 0
    assert {person.credits()["balance"] for person in others} == {0}


def test_nobody_without_credit_has_anything_made(server: DevServer, standin: Standin) -> None:
    refused = Person(server).ask({"hair": "spiky"})
    assert (refused.status_code, refused.json()["code"]) == (402, "not_enough_credits")
    assert posts(standin) == 0


def test_more_wishes_than_credits_make_as_many_pictures_as_there_are_credits(
    server: DevServer, standin: Standin
) -> None:
    person = Person(server, granted=10)
    wishes = [
        {"hair": hair, "gesture": gesture, "colorTheme": "forest"}
        for hair in ALL_HAIR[:10]
        for gesture in list(GESTURES)[:5]
    ]
    answers = person.ask_many(wishes)
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [402] * 40
    assert posts(standin) == 10
    assert person.credits() == {"balance": 0, "held": 0, "available": 0}
    assert audit(server)["faults"] == []


def test_one_idempotency_key_a_hundred_times_is_one_answer(server: DevServer, standin: Standin) -> None:
    standin.scenario_log.tell("*", "slow:1")
    person = Person(server, granted=3)
    answers = person.ask_many([{"hair": "bun"}] * 100, idempotency_key="order 1")
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    assert posts(standin) == 1
    assert person.credits()["balance"] == 2
    conflict = person.ask({"hair": "bob"}, idempotency_key="order 1")
    assert (conflict.status_code, conflict.json()["code"]) == (409, "idempotency_conflict")
    assert person.credits() == {"balance": 2, "held": 0, "available": 2}


@pytest.mark.parametrize(
    ("scenario", "status", "calls"), [("moderated", 422, 1), ("http_500", 503, 1), ("html", 502, 1)]
)
def test_what_fails_costs_no_credit(
    server: DevServer, standin: Standin, scenario: str, status: int, calls: int
) -> None:
    standin.scenario_log.tell("*", scenario)
    person = Person(server, granted=1)
    refused = person.ask({"colorTheme": list(COLOR_THEMES)[len(scenario)], "hair": "braids"})
    assert refused.status_code == status, refused.text
    assert posts(standin) == calls
    assert person.credits() == {"balance": 1, "held": 0, "available": 1}


def test_a_killed_leader_costs_its_caller_no_second_credit(server: DevServer, standin: Standin) -> None:
    standin.scenario_log.tell("*", "held", "ok")
    person = Person(server, granted=2)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lambda: person.ask({"hair": "locs"}))
        wait_until(lambda: posts(standin) == 1, seconds=30, what="the first submit")
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            asked.result()
    wait_until(lambda: len(server.workers()) == 4, seconds=30, what="the processes are replaced")

    def is_made() -> bool:
        try:
            return person.ask({"hair": "locs"}).status_code == 200
        except httpx.HTTPError:
            return False

    wait_until(is_made, seconds=40, what="the picture is made after all")
    assert posts(standin) == 2  # OpenAI has no jobs: what was lost is asked for once more
    assert person.credits() == {"balance": 1, "held": 0, "available": 1}
    assert audit(server)["faults"] == []


def test_a_credit_held_by_processes_that_died_is_its_owners_again_without_a_sweep(
    server: DevServer, standin: Standin
) -> None:
    standin.scenario_log.tell("*", "slow:60", "slow:0")
    person = Person(server, granted=1)
    # Not a promise: that would be kept, and pay.
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lambda: person.ask({"hair": "buzz"}))
        wait_until(lambda: posts(standin) == 1, seconds=30, what="the first submit")
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            asked.result()
    wait_until(lambda: len(server.workers()) == 4, seconds=60, what="the processes are replaced")
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        moved = connection.execute(
            "with held as (update copperplate.reservations set expires_at = expires_at - interval '2 hours'"
            " where state = 'held' returning generation_key)"
            " update public.generation_status set lease_until = lease_until - interval '2 hours'"
            " where prompt_hash in (select generation_key from held)"
        )
        assert moved.rowcount == 1
        stored = "select a.held from copperplate.accounts as a where a.user_id = %s"
        assert connection.execute(stored, [person.id]).fetchone() == (1,)  # no sweep came by
    assert person.credits() == {"balance": 1, "held": 0, "available": 1}
    shown = server.run("credits", "show", str(person.id), "--json")
    assert json.loads(shown.stdout)["available"] == 1
    answer = person.ask({"hair": "bald"})
    assert (answer.status_code, answer.json()["credits"]) == (200, 0)
    assert person.credits() == {"balance": 0, "held": 0, "available": 0}
    assert audit(server)["faults"] == []


def test_an_order_is_delivered_at_its_address(server: DevServer, standin: Standin) -> None:
    standin.scenario_log.tell("*", "held")
    person = Person(server, granted=1)
    ordered = person.ask({"hair": "ponytail"}, prefer="respond-async")
    assert ordered.status_code == 202
    address = f"http://127.0.0.1:{server.port}{ordered.headers['location']}"

    def told() -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(address, headers=person.headers).json()
        return found

    assert told()["status"] == "generating"
    standin.scenario_log.release()
    wait_until(lambda: told()["status"] == "completed", seconds=30, what="the order is delivered")
    assert httpx.get(told()["url"]).content.startswith(PNG)
    assert httpx.get(address, headers=Person(server).headers).status_code == 404


def test_deleting_a_user_leaves_sums_and_no_name(server: DevServer, standin: Standin) -> None:
    person = Person(server, granted=7)
    person.ask({"hair": "wavy"}, idempotency_key="k")
    before = audit(server)
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        assert connection.execute("select public.forget_user(%s)", [person.id]).fetchone() == (True,)
        for table, column in connection.execute(
            "select c.table_schema || '.' || c.table_name, c.column_name from information_schema.columns as c"
            " where c.table_schema in ('public', 'copperplate')"
        ).fetchall():
            rows = connection.execute(f"select count(*) from {table} where {column}::text like %s", [f"%{person.id}%"])
            assert rows.fetchone() == (0,), f"{table}.{column}"
    assert audit(server) == before
    assert person.credits()["balance"] == 0


def test_the_promised_table_and_its_delete_work_as_written(server: DevServer, standin: Standin) -> None:
    key = Person(server, granted=1).ask({"hair": "pixie"}).json()["key"]
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        row = connection.execute(
            "select prompt_hash, usage_count, last_used_at, generation_cost from public.memoji_cache"
            " where prompt_hash = %s",
            [key],
        ).fetchone()
        assert row is not None
        [drawing] = standin.scenario_log.drawings.values()
        assert float(row[3]) == pytest.approx(drawing.charge_micro_usd / 1_000_000)
        connection.execute("delete from public.memoji_cache where prompt_hash = %s", [key])
        assert connection.execute(
            "select count(*) from public.memoji_cache where prompt_hash = %s", [key]
        ).fetchone() == (0,)
