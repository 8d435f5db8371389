"""From one command to a picture, and what happens when processes are killed."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import UUID

import psycopg
import pytest
from PIL import Image
from psycopg.rows import dict_row

from copperplate.adapters.supabase.users import make_local_token
from copperplate.tiers.coherence import TRUST_SECONDS
from tests.e2e.dev_server import Answer, DevServer, dev_server, inherited, is_running, wait_until
from tests.support.walls import wall

if TYPE_CHECKING:
    from collections.abc import Iterator

# Leases scaled down, so that a takeover takes seconds.
SCALED = {"COPPERPLATE_LEASE_SECONDS": "2", "COPPERPLATE_HEARTBEAT_SECONDS": "0.5"}
# The folder of tests that are about the end of a server: one after the other they use a database that is there.
USED = "used"
JPEG = b"\xff\xd8\xff"
STARTS = {"jpg": JPEG, "png": b"\x89PNG", "webp": b"RIFF", "avif": b"ftypavif"}


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[DevServer]:
    with dev_server(folder / "dev", workers=4, COPPERPLATE_PAINTER_SECONDS="0.5") as running:
        yield running


def picture(text: str, extension: str = "jpg") -> str:
    return f"/256x256.{extension}?text={quote(text)}"


def status_of(server: DevServer, text: str) -> dict[str, object]:
    """The generation's row, as the owner sees it."""
    with psycopg.connect(server.database_url, row_factory=dict_row) as connection:
        row = connection.execute("select * from public.generation_status where prompt = %s", (text,)).fetchone()
    assert row is not None
    return row


def empty_memory(server: DevServer) -> None:
    """No process answers from its memory what it has there now: after so long each reads the feed first."""
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        connection.execute("select public.invalidate_tiers(array['memory'])")
    time.sleep(TRUST_SECONDS)


def ask_many(server: DevServer, path: str, times: int) -> list[Answer]:
    with ThreadPoolExecutor(64) as pool:
        return list(pool.map(lambda _: server.get(path), range(times)))


def test_last_line_is_a_url_that_shows_a_picture_and_the_second_request_is_a_hit(server: DevServer) -> None:
    path = server.url.partition(str(server.port))[2]
    first, second = server.get(path), server.get(path)
    assert first.status == second.status == 200
    assert first.body.startswith(JPEG)
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
    assert (first.body, first.headers["etag"]) == (second.body, second.headers["etag"])


def test_four_hundred_requests_over_four_processes_cost_one_generation(server: DevServer) -> None:
    answers = ask_many(server, picture("many at once"), 400)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert status_of(server, "many at once")["api_calls_made"] == 1


def kept_forms(server: DevServer, text: str) -> int:
    """How many renditions of the picture are kept."""
    with psycopg.connect(server.database_url) as connection:
        row = connection.execute(
            "select count(*) from copperplate.cache_entries as e inner join public.generation_status as g"
            " on e.generation_key = g.prompt_hash where g.prompt = %s and not e.is_original",
            (text,),
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_whole_srcset_asked_for_by_several_browsers_costs_one_generation(server: DevServer) -> None:
    forms = list(itertools.product(STARTS, (16, 64, 128, 256)))
    with ThreadPoolExecutor(32) as pool:
        paths = [f"{picture('srcset', form)}&w={width}" for form, width in forms] * 3
        answers = list(pool.map(server.get, paths))
    assert {answer.status for answer in answers} == {200}
    assert status_of(server, "srcset")["api_calls_made"] == 1
    for number, (form, width) in enumerate(forms):
        (body,) = {answer.body for answer in answers[number :: len(forms)]}  # whichever process made it
        assert STARTS[form] in body[:12]
        with Image.open(BytesIO(body)) as image:
            assert image.size == (width, width)
    # They are kept behind the answers.
    wait_until(lambda: kept_forms(server, "srcset") == len(forms), seconds=30, what="all forms kept")


def test_of_more_forms_than_are_kept_each_is_answered(server: DevServer) -> None:
    sized = [f"/64x64.webp?text=many&w={width}&h={height}" for width in (16, 32, 48) for height in range(16, 33)]
    whole = [f"/64x64.{form}?text=many&q={q}" for form in ("jpg", "webp", "avif") for q in (40, 60, 75, 85, 95)]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(server.get, [*sized, *whole, "/64x64.png?text=many"] * 2))
    assert {answer.status for answer in answers} == {200}
    half = len(answers) // 2
    assert [answer.body for answer in answers[:half]] == [answer.body for answer in answers[half:]]
    wait_until(lambda: kept_forms(server, "many") == 64, seconds=30, what="64 forms kept")


def test_savings_are_visible_within_three_seconds_over_every_process(server: DevServer) -> None:
    ask_many(server, picture("counted"), 10)

    def is_counted() -> bool:
        return status_of(server, "counted")["total_requests"] == 10

    wait_until(is_counted, seconds=3, what="ten requests counted")
    stats = json.loads(server.get("/api/generation/stats").body)
    assert stats["success"] is True
    assert stats["stats"]["total_api_calls_saved"] >= 9
    saved = stats["stats"]["api_calls_saved_today"]
    assert stats["message"] == f"Saved {saved} API calls today!"


def test_client_that_disconnects_does_not_stop_the_generation(server: DevServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"GET {picture('left early')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: _is_submitted(server, "left early"), seconds=30, what="the generation begins")
    wait_until(lambda: status_of(server, "left early")["status"] == "completed", seconds=30, what="it ends too")
    assert server.get(picture("left early")).headers["x-cache"] == "HIT"


def _is_submitted(server: DevServer, text: str) -> bool:
    """Whether the generation is there and its submit written ahead: before that, dying costs no call."""
    try:
        return status_of(server, text)["api_calls_made"] == 1
    except AssertionError:
        return False


def test_picture_deleted_in_the_sql_editor_is_made_anew_within_three_seconds(server: DevServer) -> None:
    first = server.get(picture("declared wrong"))
    url = server.run("database-url", "--tcp").stdout.splitlines()[-1]
    with psycopg.connect(url) as connection:
        deleted = connection.execute(
            "delete from public.image_cache where prompt_hash = %s", (first.headers["x-copperplate-key"],)
        )
        assert deleted.rowcount == 1
    wait_until(
        lambda: server.get(picture("declared wrong")).headers["x-cache"] == "MISS", seconds=3, what="it is made anew"
    )


def test_object_that_vanished_or_was_altered_is_made_anew_once(server: DevServer) -> None:
    first = server.get(picture("damaged"))
    objects = server.log.parent / "objects" / "generated-images"
    [jpg] = [path for path in objects.rglob("*.jpg") if path.read_bytes() == first.body]
    jpg.write_bytes(b"something else")
    empty_memory(server)
    again = server.get(picture("damaged"))
    assert (again.status, again.body) == (200, first.body)
    assert status_of(server, "damaged")["api_calls_made"] == 1
    # Names with a dot in front are files that are being written.
    wait_until(
        lambda: any(path.read_bytes() == first.body for path in objects.rglob("[!.]*.jpg")),
        seconds=60,
        what="the picture kept again",
    )
    for path in objects.rglob("[!.]*.*"):
        path.unlink()
    empty_memory(server)
    third = server.get(picture("damaged"))
    assert (third.status, third.headers["x-cache"]) == (200, "MISS")
    assert status_of(server, "damaged")["api_calls_made"] == 2


def test_one_killed_process_is_replaced_while_the_others_keep_serving(server: DevServer) -> None:
    server.get(picture("kept"))
    before = server.workers()
    assert len(before) == 4
    victim = min(before)
    statuses: list[int | str] = []
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            try:
                statuses.append(server.get(picture("kept")).status)
            except (OSError, http.client.HTTPException) as error:
                # The one request the victim held at that moment; whoever asks again is served.
                statuses.append(type(error).__name__)

    user_requests = threading.Thread(target=keep_asking, daemon=True)
    user_requests.start()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(server.workers() - {victim}) == 4, seconds=30, what="a replacement")
    wait_until(lambda: len(statuses) > 20, seconds=30, what="enough requests")
    stop.set()
    user_requests.join()
    failures = [status for status in statuses if status != 200]
    assert len(failures) <= 1, failures
    [told] = [line for line in server.log.read_text().splitlines() if f"worker {victim} is gone" in line]
    assert "(SIGKILL)" in told


def test_generation_whose_process_was_killed_is_finished_for_those_who_ask_again(folder: Path) -> None:
    # Long enough to be seen begun and killed, and short enough to be painted again within a caller's wait of 30 s.
    seconds = min(wall(2), 15)
    with dev_server(folder / USED, workers=2, COPPERPLATE_PAINTER_SECONDS=f"{seconds:.1f}", **SCALED) as server:
        threading.Thread(target=_ask_and_lose, args=(server,), daemon=True).start()
        wait_until(lambda: _is_submitted(server, "cut off"), seconds=30, what="the generation begins")
        for worker in server.workers():
            os.kill(worker, signal.SIGKILL)
        again = server.get(picture("cut off"))
        assert (again.status, again.body[:3]) == (200, JPEG)
        row = status_of(server, "cut off")
        assert row["status"] == "completed"
        assert row["api_calls_made"] == 2


def _ask_and_lose(server: DevServer) -> None:
    # A busy machine may refuse for a moment; whoever asks then asks again.
    with contextlib.suppress(OSError, http.client.HTTPException):
        while server.get(picture("cut off")).status == 503:
            time.sleep(0.5)


def test_killed_supervisor_leaves_nothing_behind_and_nothing_is_lost(folder: Path) -> None:
    with dev_server(folder / "data") as server:
        first = server.get(picture("survives"))
        family = server.descendants()
        assert len(family) >= 3
        server.process.kill()
        server.process.wait(30)
        wait_until(lambda: not any(map(is_running, family)), seconds=30, what="every process is gone")
    with dev_server(folder / "data") as server:
        again = server.get(picture("survives"))
        assert (again.headers["x-cache"], again.body) == ("HIT", first.body)


def test_server_told_to_stop_ends_cleanly(folder: Path) -> None:
    with dev_server(folder / USED, COPPERPLATE_PAINTER_SECONDS="1") as server:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(server.get, picture("in flight"))
            wait_until(lambda: _is_submitted(server, "in flight"), seconds=30, what="the generation begins")
            family = server.descendants()
            server.process.send_signal(signal.SIGTERM)
            assert asked.result(30).status == 200
        assert server.process.wait(30) == 0
        wait_until(lambda: not any(map(is_running, family)), seconds=30, what="every process is gone")


def test_closed_terminal_ends_the_server_and_everything_under_it(folder: Path) -> None:
    # Whoever runs the suite may have ignored the signal, and children inherit that.
    with inherited(signal.SIGHUP, signal.SIG_DFL), dev_server(folder / USED) as server:
        family = server.descendants()
        server.process.send_signal(signal.SIGHUP)
        assert server.process.wait(30) == 0
        wait_until(lambda: not any(map(is_running, family)), seconds=30, what="every process is gone")


def test_server_under_nohup_outlives_its_terminal(folder: Path) -> None:
    with inherited(signal.SIGHUP, signal.SIG_IGN), dev_server(folder / USED) as server:
        for process in (server.process.pid, *server.workers()):
            status = Path(f"/proc/{process}/status").read_text()
            masked = int(status.partition("SigIgn:")[2].split()[0], 16)
            assert masked & (1 << (signal.SIGHUP - 1)), status


def test_second_server_on_the_same_folder_says_so_and_ends(server: DevServer) -> None:
    second = server.run("dev", "--port", "0")
    assert second.returncode == 3
    assert "cluster_running" in second.stderr
    assert "Traceback" not in second.stderr


def test_taken_port_is_named(server: DevServer, folder: Path) -> None:
    refused = server.run("dev", "--port", str(server.port), "--data-dir", str(folder / "taken"))
    assert refused.returncode == 3
    assert f"Port {server.port}" in refused.stderr
    assert "--port" in refused.stderr


def test_commands_beside_the_server_use_its_database(server: DevServer) -> None:
    assert server.get(picture("beside")).status == 200
    stats = server.run("stats", "--json")
    assert stats.returncode == 0
    assert json.loads(stats.stdout)["total_api_calls_made"] >= 1
    assert server.run("migrate").returncode == 0
    for arguments in (("database-url",), ("database-url", "--tcp")):
        url = server.run(*arguments).stdout.splitlines()[-1]
        with psycopg.connect(url) as connection:
            assert (
                connection.execute("select current_user, count(*) from public.generation_status").fetchone() is not None
            )


def test_line_about_sql_is_a_command_for_a_second_terminal(server: DevServer) -> None:
    shown = re.search(r'in SQL +psql "\$\((.+)\)"', server.log.read_text())
    assert shown is not None
    elsewhere = {name: value for name, value in server.environment.items() if not name.startswith("COPPERPLATE_")}
    answer = subprocess.run(shlex.split(shown[1]), env=elsewhere, capture_output=True, text=True, check=True)
    with psycopg.connect(answer.stdout.splitlines()[-1]) as connection:
        assert connection.execute("select current_user").fetchone() == ("postgres",)


def test_token_of_the_command_line_signs_in_to_every_process_of_this_server_only(server: DevServer) -> None:
    printed = server.run("token", "--user", "5b2e7a44-0c1d-4f3e-9a6b-7c8d9e0f1a2b", "--seconds", "60")
    assert (printed.returncode, len(printed.stdout.splitlines())) == (0, 1)
    told = json.loads(server.run("token", "--json").stdout)
    assert told["seconds"] == 3_600
    for token in (printed.stdout.strip(), told["token"]):
        for _ in range(8):
            answer = server.get("/api/credits", authorization=f"Bearer {token}")
            assert (answer.status, json.loads(answer.body)["credits"]["available"]) == (200, 0)
    # What another folder's server would sign with is another secret.
    foreign = make_local_token(UUID(told["user"]), "0" * 64, seconds=60)
    assert server.get("/api/credits", authorization=f"Bearer {foreign}").status == 401
    shown = server.run("credits", "grant", told["user"], "3", "--json")
    assert json.loads(shown.stdout)["balance"] == 3
    answer = server.get("/api/credits", authorization=f"Bearer {told['token']}")
    assert json.loads(answer.body)["credits"] == {"balance": 3, "held": 0, "available": 3}


def test_no_prompt_and_no_password_is_logged(server: DevServer) -> None:
    server.get(picture("a very private wish"))
    server.get("/256x256.jpg?text=a%20very%20private%20wish&model=nobody")
    logged = server.log.read_text()
    assert "outcome=" in logged
    assert "private" not in logged
    password = server.run("database-url").stdout.partition("postgres:")[2].partition("@")[0]
    assert password
    assert password not in logged
