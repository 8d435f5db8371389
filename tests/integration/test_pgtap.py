"""The pgTAP files of supabase/tests, as `supabase test db` runs them: by the owner, in a migrated database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from copperplate.local.bootstrap import create_database, drop_database
from scripts import npm
from tests.support import tap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from copperplate.local.cluster import Cluster

FILES = sorted((Path(__file__).parents[2] / "supabase" / "tests").glob("*.sql"))
NAME = "pgtap"


@pytest.fixture(scope="module")
def tested(cluster: Cluster) -> Iterator[str]:
    """A migrated database with pgTAP in it."""
    try:
        script = tap.read_extension(npm.install())
    except npm.NotInstallable as error:
        pytest.skip(str(error))
    create_database(cluster.superuser_url, NAME, template="migrated")
    tap.load_extension(cluster.url("supabase_admin", NAME), script)
    yield cluster.url(database=NAME)
    drop_database(cluster.superuser_url, NAME)


def test_there_are_files() -> None:
    assert len(FILES) >= 10


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_planned_test_of_the_file_passes(tested: str, file: Path) -> None:
    report = tap.run_file(tested, file)
    assert report.failures == []
    assert report.planned == report.passed
    assert report.passed


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_file_leaves_nothing_behind(tested: str, file: Path) -> None:
    statements = [line for line in file.read_text().splitlines() if line and not line.startswith("--")]
    assert (statements[0], statements[-2:]) == ("begin;", ["select * from finish();", "rollback;"])
    tap.run_file(tested, file)
    with psycopg.connect(tested) as connection:
        assert connection.execute("select from public.generation_status").rowcount == 0


def test_failing_test_is_reported_with_its_reason(tested: str, tmp_path: Path) -> None:
    file = tmp_path / "fails.sql"
    file.write_text(
        "begin;\nselect plan(3);\nselect ok(true, 'fine');\nselect is(1, 2, 'sums');\n"
        "select * from finish();\nrollback;\n"
    )
    report = tap.run_file(tested, file)
    assert (report.planned, report.passed) == (3, 1)
    [failure] = report.failures
    assert failure.startswith("not ok 2 - sums")
    assert "have: 1" in failure
    assert "want: 2" in failure
