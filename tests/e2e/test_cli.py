"""The command line as a person meets it: every command in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from copperplate.access.signatures import SigningKeys, Verdict, verify
from copperplate.cli import main
from copperplate.cli.commands import EXAMPLE, build_parser
from copperplate.local.bootstrap import create_database
from copperplate.local.cluster import Cluster, find_running
from copperplate.recipes.url import parse_picture_query
from tests.e2e.dev_server import UNSET, children_of, command_of, is_running, wait_until, without_progress
from tests.e2e.serve import port_of
from tests.support.clusters import open_folder
from tests.support.commands import COPPERPLATE, run_command
from tests.support.walls import wall

if TYPE_CHECKING:
    import argparse

ROOT = Path(__file__).parents[2]
FOX = "/512x512.jpg?text=a%20red%20fox"


def environment(**variables: str) -> dict[str, str]:
    return {**{key: value for key, value in os.environ.items() if not key.startswith(UNSET)}, **variables}


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a command answers, without the lines that a busy machine adds: each step of more than 5 s is told."""
    answer = run_command(*arguments, environment=environment(**variables), timeout=wall(60))
    answer.stderr = without_progress(answer.stderr)
    return answer


def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command, by name."""
    return parts_of(build_parser())


def parts_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    groups = parser._subparsers._group_actions if parser._subparsers is not None else []
    return {str(name): part for group in groups for name, part in dict(group.choices or {}).items()}


def whole_commands() -> dict[str, argparse.ArgumentParser]:
    """Every command that can be run, as `credits grant` for a part of one."""
    found: dict[str, argparse.ArgumentParser] = {}
    for name, parser in commands().items():
        parts = parts_of(parser)
        found |= {f"{name} {part}": each for part, each in parts.items()} if parts else {name: parser}
    return found


# What a command cannot do without.
SUNSET = Path(__file__).parents[2] / "docs" / "sunset.jpg"
GIVEN = {
    "budget set": ("all", "--usd", "1"),
    "budget reset": ("all", "--yes"),
    "budget override": ("all", "--usd", "1", "--until", "1h"),
    "credits grant": ("11111111-1111-1111-1111-111111111111", "5"),
    "credits show": ("1" * 32,),
    "warm": ("--popular", "7"),
    "keys show": ("abcdEFG1",),
    "import": ("list.csv", "--root", "."),
    "import-processing-cache": ("cache.json", "--root", "."),
    "process": (str(SUNSET), "--operation", "upscale"),
    **{f"keys {part}": ("abcdEFG1", "--yes") for part in ("rotate", "revoke")},
    "sign": (FOX,),
    **dict.fromkeys(("takedown", "pin", "unpin"), ("1" * 64,)),
}


@pytest.mark.parametrize("name", sorted({*whole_commands(), *commands()}))
def test_no_command_takes_a_part_of_an_options_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What removes something must not guess: `cleanup --y`, `purge --dry`."""
    parser = whole_commands().get(name) or commands()[name]
    assert not parser.allow_abbrev
    for option in (each for action in parser._actions for each in action.option_strings if each.startswith("--")):
        with pytest.raises(SystemExit) as ended:
            build_parser().parse_args([*name.split(), *GIVEN.get(name, ()), option[:-1]])
        assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


# --- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(whole_commands()))
def test_help_of_every_command_names_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for action in whole_commands()[name]._actions:
        for option in action.option_strings or [str(action.metavar or action.dest)]:
            assert option in said
        # An option without a word of explanation is a riddle.
        assert action.help


def test_help_lists_every_command_and_every_exit_code() -> None:
    answer = run("--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.findall(r"^    ([a-z-]+)(?: |$)", answer.stdout, re.MULTILINE) == list(commands())
    assert all(f"  {code}  " in answer.stdout for code in range(4))


def test_table_of_commands_in_the_readme_is_what_the_parser_takes() -> None:
    readme = (ROOT / "README.md").read_text()
    found = re.finditer(r"^\| `copperplate (\S+?)(?: [^`]*)?` \|", readme, re.MULTILINE)
    rows = {match[1]: match[0] for match in found}
    assert list(rows) == list(commands())
    for name, row in rows.items():
        known = {option for action in commands()[name]._actions for option in action.option_strings}
        assert set(re.findall(r"--[a-z-]+", row)) <= known


def test_version_is_printed() -> None:
    assert re.fullmatch(r"copperplate \d+\.\d+\.\d+\S*\n", run("--version").stdout)


@pytest.mark.parametrize("arguments", [("unknown",), (), ("dev", "--workers", "many"), ("explain",)])
def test_command_line_that_cannot_be_understood_ends_with_2(arguments: tuple[str, ...]) -> None:
    answer = run(*arguments)
    assert answer.returncode == 2
    assert answer.stderr.startswith("usage: copperplate")
    assert "Traceback" not in answer.stderr


# --- explain -------------------------------------------------------------------------------------


def test_explain_shows_every_step_as_a_table() -> None:
    answer = run("explain", FOX)
    assert (answer.returncode, answer.stderr) == (0, "")
    steps = dict(re.split(r"  +", line, maxsplit=1) for line in answer.stdout.splitlines())
    assert steps["text, white space folded"].startswith("'a red fox'")
    assert re.fullmatch(r"[0-9a-f]{64}", steps["generation key"])
    assert re.fullmatch(r"[0-9a-f]{64}", steps["rendition key"])
    assert steps["rendition key"] in steps["find it"]


def test_explain_for_programs_says_the_same() -> None:
    table, answer = run("explain", FOX), run("explain", FOX, "--json")
    explained = json.loads(answer.stdout)
    assert answer.returncode == 0
    assert explained["generation_key"] in table.stdout
    assert explained["rendition_key"] in table.stdout


def test_explain_of_two_urls_says_why_they_differ() -> None:
    same = run("explain", FOX, "/512x512.jpg?text=+a+red++fox+&utm_source=mail")
    assert same.returncode == 0
    assert "The same picture: one entry answers both." in same.stdout
    other = run("explain", FOX, "/512x512.jpg?text=A%20red%20fox")
    assert other.returncode == 0
    assert "'a red fox'" in other.stdout
    assert "'A red fox'" in other.stdout
    formats = run("explain", FOX, FOX.replace("jpg", "png"))
    assert "One generation in two renditions" in formats.stdout


def test_explain_of_a_memoji_shows_its_key_and_why_two_differ() -> None:
    shown = run("explain", "--memoji", '{"familyType": "MOTHER"}')
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "familyType=mother" in shown.stdout
    assert "public.memoji_cache" in shown.stdout
    told = run("explain", "--memoji", "{}", '{"familyType": "mother"}')
    assert "'father' / 'mother'" in told.stdout
    wrong = run("explain", "--memoji", '{"famlyType": "mother"}')
    assert wrong.returncode == 1
    assert wrong.stderr.endswith("[invalid_configuration]\n")


@pytest.mark.parametrize("url", ["nonsense", "/10x10.jpg?text=x", "/512x512.jpg", "/512x512.jpg?text=x&seed=-1"])
def test_explain_of_what_is_no_picture_says_how_to_mend_it(url: str) -> None:
    answer = run("explain", url)
    assert answer.returncode == 1
    assert re.search(r"^copperplate: .+ \[[a-z_]+\]$", answer.stderr)
    assert "Traceback" not in answer.stderr


# --- prices --------------------------------------------------------------------------------------


def test_prices_are_printed_with_their_age_and_source_and_need_no_settings() -> None:
    answer, programs = run("prices"), run("prices", "--json", DATABASE_URL="mysql://db")
    assert (answer.returncode, answer.stderr, programs.returncode, programs.stderr) == (0, "", 0, "")
    table = json.loads(programs.stdout)
    head, *lines = answer.stdout.split("\n\n")[0].splitlines()
    assert head.split() == ["provider", "model", "for", "one", "price", "source"]
    assert len(lines) == len(table["prices"])
    assert re.search(r"fal-ai/flux/schnell +started megapixel +\$0\.003 ", answer.stdout)
    assert f"Version {table['version']}, as read on {table['as_of']}; not checked against a bill." in answer.stdout


# --- sign ----------------------------------------------------------------------------------------

KEYS = f"new:{'n' * 32},old:{'o' * 32}"


def test_signed_url_is_the_last_line_and_is_valid_for_thirty_days() -> None:
    answer = run("sign", FOX, COPPERPLATE_URL_SIGNING_KEYS=KEYS)
    assert answer.returncode == 0
    assert re.fullmatch(
        r"signed by key new until \S+:00:00\+00:00; valid where .+ the model copperplate/painter-1\n", answer.stderr
    )
    assert answer.stdout.startswith(f"{FOX}&kid=new&exp=")
    asked = parse_picture_query(answer.stdout.strip().partition("?")[2].encode())
    assert asked.signature is not None
    keys = SigningKeys.of([("new", "n" * 32)])
    key = json.loads(run("explain", FOX, "--json").stdout)["generation_key"]
    for days, verdict in ((29.9, Verdict.VALID), (30.1, Verdict.EXPIRED)):
        now = datetime.now(UTC) + timedelta(days=days)
        assert verify(asked.signature, key, keys=keys, now=now).verdict is verdict


def test_signing_for_programs_names_the_key_and_begins_with_the_public_address() -> None:
    base = "https://pictures.example.com"
    answer = run(
        *("sign", FOX, "--json", "--key-id", "old", "--expires", "90m"),
        COPPERPLATE_URL_SIGNING_KEYS=KEYS,
        COPPERPLATE_PUBLIC_BASE_URL=base,
    )
    signed = json.loads(answer.stdout)
    assert (answer.returncode, answer.stderr, signed["key_id"]) == (0, "", "old")
    assert signed["url"].startswith(f"{base}{FOX}&kid=old&exp=")
    left = datetime.fromisoformat(signed["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=85) < left <= timedelta(minutes=150)


@pytest.mark.parametrize(
    ("arguments", "keys", "code", "said"),
    [
        ((FOX,), "", 3, "COPPERPLATE_URL_SIGNING_KEYS is not set"),
        ((FOX, "--key-id", "gone"), KEYS, 3, "no key 'gone'"),
        ((FOX,), "new:short", 3, "COPPERPLATE_URL_SIGNING_KEYS must be"),
        (("/api/cache/stats",), KEYS, 1, "[not_found]"),
        (("/512x512.jpg?text=a&text=a",), KEYS, 1, "[invalid_query]"),
        (("/512x512.jpg?text=a&model=nobodys",), KEYS, 1, "[invalid_model]"),
        *(
            ((FOX, "--expires", wrong), KEYS, 2, "a duration such as")
            for wrong in ("", "30", "0d", "+1d", "1.5h", "30 d", "3661d", "1y", "٣d", "9" * 400 + "d")
        ),
    ],
)
def test_what_cannot_be_signed_says_why_and_shows_no_secret(
    arguments: tuple[str, ...], keys: str, code: int, said: str
) -> None:
    answer = run("sign", *arguments, COPPERPLATE_URL_SIGNING_KEYS=keys)
    assert (answer.returncode, answer.stdout) == (code, "")
    assert said in answer.stderr
    assert "nnnn" not in answer.stderr
    assert "Traceback" not in answer.stderr


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(whole_commands()) - {"doctor", "explain", "prices"}))
def test_faults_of_settings_are_all_reported_at_once(name: str, tmp_path: Path) -> None:
    wrong = {"DATABASE_URL": "mysql://me:hunter2@db", "PORT": "99999", "COPPERPLATE_WAIT_SECONDS": "soon"}
    answer = run(*name.split(), *GIVEN.get(name, ()), **wrong, HOME=str(tmp_path))
    assert answer.returncode == 3
    assert all(variable in answer.stderr for variable in ("DATABASE_URL", "PORT", "COPPERPLATE_WAIT_SECONDS"))
    assert "docs/settings.md" in answer.stderr
    assert "hunter2" not in answer.stderr
    assert "Traceback" not in answer.stderr


def test_serve_without_a_database_names_the_setting() -> None:
    answer = run("serve")
    assert answer.returncode == 3
    assert "DATABASE_URL" in answer.stderr
    assert "[misconfigured]" in answer.stderr


# --- beside a database ---------------------------------------------------------------------------


def test_serve_shows_a_picture_and_ends_cleanly_when_told_to(cluster: Cluster, database: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [COPPERPLATE, "serve", "--host", "127.0.0.1", "--port", "0", "--workers", "1", "--data-dir", str(tmp_path)],
        env=environment(DATABASE_URL=cluster.url(database=database)),
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        try:
            port = port_of(server, " with 1 process")
            with urlopen(f"http://127.0.0.1:{port}{EXAMPLE}", timeout=30) as answer:
                assert (answer.status, answer.headers["x-cache"]) == (200, "MISS")
                assert answer.read(3) == b"\xff\xd8\xff"
            family = children_of(server.pid)
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
            wait_until(lambda: not any(map(is_running, family)), seconds=30, what="every process is gone")
        finally:
            server.kill()
    assert list(tmp_path.rglob("*.jpg"))


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("stats", "psycopg"),
        ("migrate", "psycopg"),
        ("dev", "psycopg"),
        ("database-url", "psycopg"),
        ("serve", "uvicorn"),
    ],
)
def test_missing_extra_is_named_with_what_installs_it(command: str, module: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n")
    url = {"DATABASE_URL": "postgresql:///x"} if command == "serve" else {}
    refused = run(command, "--data-dir", str(tmp_path), PYTHONPATH=str(tmp_path), PORT="0", **url)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr == f"copperplate: {module} is not installed: pip install 'copperplate[all]' [not_installed]\n"


@pytest.mark.parametrize(
    "command", [("stats",), ("cleanup", "--dry-run"), ("purge", "--prompt", "x", "--yes"), ("migrate",)]
)
def test_database_that_cannot_be_reached_is_one_line_with_the_reason(command: tuple[str, ...]) -> None:
    refused = run(*command, DATABASE_URL="postgresql://somebody:a-secret@127.0.0.1:1/postgres")
    assert (refused.returncode, refused.stdout) == (3, "")
    [told] = refused.stderr.splitlines()
    assert "DATABASE_URL" in told
    assert "port 1 failed: Connection refused" in told
    assert "a-secret" not in told


def test_token_where_no_local_server_runs_says_where_users_get_theirs(tmp_path: Path) -> None:
    refused = run("token", "--data-dir", str(tmp_path), SUPABASE_URL="https://project.example")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "copperplate dev" in refused.stderr
    assert "access_token" in refused.stderr


@pytest.mark.parametrize("user", ["me", "", "5b2e7a44", "5b2e7a44-0c1d-4f3e-9a6b-7c8d9e0f1a2"])
def test_token_of_nobody_is_refused(user: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["token", "--user", user])
    assert ended.value.code == 2
    assert "a user's id" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["stats", "migrate"])
def test_url_that_libpq_cannot_read_is_refused_without_a_piece_of_it(command: str) -> None:
    refused = run(command, DATABASE_URL="postgresql://somebody:half-a%zz-secret@127.0.0.1:1/postgres")
    assert refused.returncode == 3
    [told] = refused.stderr.splitlines()
    assert "DATABASE_URL is not a URL that libpq can read" in told
    assert "secret" not in told


def test_migrate_of_a_plain_database_says_which_roles_it_lacks() -> None:
    # Roles belong to the cluster, so this takes one that was never bootstrapped.
    with open_folder() as made, Cluster.start(made, is_durable=False) as plain:
        answer = run("migrate", DATABASE_URL=plain.superuser_url)
    assert answer.returncode == 3
    assert "[roles_missing]" in answer.stderr
    assert all(role in answer.stderr for role in ("anon", "authenticated", "service_role"))
    assert "Traceback" not in answer.stderr


def test_migrate_brings_an_empty_database_up_to_date_and_says_so_again(cluster: Cluster) -> None:
    create_database(cluster.superuser_url, "to_migrate", template="postgres")
    url = cluster.url(database="to_migrate")
    first, second = run("migrate", DATABASE_URL=url), run("migrate", DATABASE_URL=url)
    assert (first.returncode, second.returncode) == (0, 0)
    assert "Applied 20261120000100_create_schema.sql" in first.stderr
    assert re.fullmatch(r"the schema of \S+/to_migrate is up to date\n", second.stderr)


def test_migrate_of_a_project_without_its_database_says_what_to_set_and_changes_none(tmp_path: Path) -> None:
    project = {"SUPABASE_URL": "https://project.example.com", "SUPABASE_SECRET_KEY": "sb_secret_0123456789"}
    answer = run("migrate", "--data-dir", str(tmp_path / "data"), **project)
    assert answer.returncode != 0
    assert all(
        words in answer.stderr for words in ("DATABASE_URL", "https://project.example.com", "Nothing was changed")
    )
    assert not (tmp_path / "data").exists(), "no database of its own was made instead"


def test_stats_starts_a_database_of_its_own_and_leaves_nothing_running() -> None:
    with open_folder() as made:
        answer = run("stats", "--json", "--data-dir", str(made))
        assert answer.returncode == 0, answer.stderr
        assert answer.stderr.startswith(f"{made} has no database yet")
        figures = json.loads(answer.stdout)
        assert (figures["total_requests"], figures["total_cached_images"]) == (0, 0)
        assert find_running(made) is None
        assert not [pid for pid in processes() if str(made) in command_of(pid)]
        table = run("stats", "--data-dir", str(made))
        assert table.stderr == ""
    assert re.search(r"^total requests +0$", table.stdout, re.MULTILINE)
    *lines, last = table.stdout.splitlines()
    assert len(lines) == len(figures)
    assert last == "spent today: $0.00, at most $5.00; more by `copperplate budget show`"


def test_variables_of_psql_do_not_lead_the_local_database_astray(folder: Path) -> None:
    elsewhere = {
        "PGHOSTADDR": "10.0.0.1",
        "PGSERVICE": "none",
        "PGSSLMODE": "verify-full",
        "PGCLIENTENCODING": "LATIN1",
    }
    answer = run("stats", "--json", "--data-dir", str(folder), **elsewhere)
    assert answer.returncode == 0, answer.stderr


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]


def test_database_url_without_a_running_database_says_what_to_start(tmp_path: Path) -> None:
    answer = run("database-url", "--data-dir", str(tmp_path))
    assert (answer.returncode, answer.stdout) == (3, "")
    assert "copperplate dev" in answer.stderr
    assert "[not_running]" in answer.stderr


@pytest.mark.parametrize("command", [("explain", FOX), ("prices",), ("--help",), ("doctor",)], ids=" ".join)
def test_reader_that_goes_away_is_no_error(command: tuple[str, ...], database: str, cluster: Cluster) -> None:
    # Python writes what is printed at the end, as it does for users.
    env = environment(DATABASE_URL=cluster.url(database=database), PYTHONUNBUFFERED="")
    with subprocess.Popen(
        [COPPERPLATE, *command], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as asked:
        assert asked.stdout is not None
        assert asked.stderr is not None
        asked.stdout.close()
        # A busy machine may take seconds to import the program, which is said.
        assert [line for line in asked.stderr if not line.startswith("still loading")] == []
        assert asked.wait(30) == 0


def run_in_shell(redirections: str, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command of a new process, whose streams a shell closes or leads elsewhere."""
    line = ["sh", "-c", f'exec "$0" "$@" {redirections}', COPPERPLATE, *command]
    env = environment(**{"PYTHONUNBUFFERED": "", **variables})
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=wall(60), check=False)


@pytest.mark.parametrize(
    ("command", "code"), [(("prices",), 0), (("--help",), 0), (("explain", "no address"), 1)], ids=str
)
@pytest.mark.parametrize("redirections", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(redirections: str, command: tuple[str, ...], code: int) -> None:
    done = run_in_shell(redirections, *command)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    assert bool(done.stderr) == (code != 0 and "2>&-" not in redirections)


def test_messages_do_not_go_to_the_output_where_stderr_is_closed() -> None:
    assert run_in_shell("2>&-", "explain", "no address").stdout == ""


# Unbuffered it fails while the command runs, as what is more than a buffer does; `--help` ends in `SystemExit`.
@pytest.mark.parametrize(("command", "unbuffered"), [(("prices",), ""), (("prices",), "1"), (("--help",), "")], ids=str)
def test_output_that_cannot_be_written_is_an_error_without_a_traceback(
    command: tuple[str, ...], unbuffered: str
) -> None:
    done = run_in_shell(">/dev/full", *command, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr.startswith("copperplate: the output cannot be written: ")
    assert done.stderr.endswith("[output_failed]\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("redirections", "command", "code"),
    [("2>/dev/full", ("purge", "--tier", "disk"), 2), (">/dev/full 2>&1", ("prices",), 1)],
    ids=str,
)
def test_messages_that_cannot_be_written_do_not_change_the_exit_code(
    redirections: str, command: tuple[str, ...], code: int
) -> None:
    assert run_in_shell(redirections, *command).returncode == code


@pytest.mark.parametrize(
    "arguments",
    [
        ("--port", "99999"),
        ("--port", "-1"),
        ("--port", "x"),
        ("--workers", "0"),
        ("--workers", "-3"),
        ("--data-dir", ""),
    ],
)
def test_argument_out_of_range_is_refused_with_its_range(arguments: tuple[str, str]) -> None:
    done = run("dev", *arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr
    assert "Traceback" not in done.stderr
