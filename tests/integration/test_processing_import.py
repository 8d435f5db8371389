"""`copperplate import-processing-cache` over a real Postgres: nobody is asked, and whoever brings the picture hits."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from PIL import Image

from copperplate.cli import main
from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from tests.integration.test_processing_command import picture

if TYPE_CHECKING:
    from collections.abc import Callable

    Import = Callable[..., tuple[int, dict[str, Any], str]]

PAGE = Path(__file__).parents[2] / "docs" / "processing-folders.md"


@pytest.fixture
def folder(owner_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an older system ran: `public/processed` has its results, `originals` what they were made of."""
    monkeypatch.setenv("DATABASE_URL", owner_url)
    monkeypatch.setenv("COPPERPLATE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    for name in ("public/processed", "originals", ".cache"):
        Path(name).mkdir(parents=True)
    for name in ("cat", "dog"):
        picture(name).save(f"originals/{name}.png")
    picture("cut").save("public/processed/cut.png")
    picture("large", side=128).save("public/processed/large.webp")
    picture("face").save("public/processed/face.jpg")
    return tmp_path


def digest_of(name: str) -> str:
    return hashlib.sha256(Path("originals", name).read_bytes()).hexdigest()


def write_cache(**more: Any) -> None:
    entries = {
        digest_of("cat.png"): {
            "bgRemoved": {"path": "processed/cut.png", "size": 1},
            "upscaled": "/processed/large.webp",
            "timestamp": 1_730_000_000_000,
        },
        digest_of("dog.png").upper(): {
            "faceDetailed": "processed/face.jpg",
            "upscaled": None,
            "timestamp": "2024-05-01T00:00:00Z",
        },
    }
    Path(".cache/image-processing-cache.json").write_text(json.dumps({**entries, **more}))


@pytest.fixture
def importing(folder: Path, capsys: pytest.CaptureFixture[str]) -> Import:
    def run(*options: str) -> tuple[int, dict[str, Any], str]:
        capsys.readouterr()
        cache = ".cache/image-processing-cache.json"
        code = main(["import-processing-cache", cache, "--root", "public", "--json", *options])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else {}, err

    return run


def process(name: str, operation: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["process", f"originals/{name}", "--operation", operation, "--json"]) == EXIT_OK
    figures: dict[str, Any] = json.loads(capsys.readouterr().out)
    return figures


def rows(owner_url: str, question: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(owner_url) as connection:
        return connection.execute(question.encode()).fetchall()


def test_whoever_brings_the_picture_has_its_imported_results_and_nobody_was_asked(
    importing: Import, owner_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cache()
    code, figures, _ = importing()
    assert (code, figures["kept"], figures["skipped"], figures["failed"]) == (EXIT_OK, 3, 0, 0)
    shutil.move("originals/cat.png", "originals/renamed.png")
    assert process("renamed.png", "remove-background", capsys)["cached"] == 1
    assert process("renamed.png", "upscale", capsys)["cached"] == 1
    assert process("dog.png", "face-detail", capsys)["cached"] == 1
    kept = {path.name: path.read_bytes() for path in Path("originals").iterdir() if path.stem.count(".")}
    assert kept == {
        "renamed.remove-background.png": Path("public/processed/cut.png").read_bytes(),
        "renamed.upscale.webp": Path("public/processed/large.webp").read_bytes(),
        "dog.face-detail.jpg": Path("public/processed/face.jpg").read_bytes(),
    }
    assert rows(owner_url, "select count(*) from copperplate.submits") == [(0,)]
    shown = rows(owner_url, "select image_hash, operation from public.processed_image_cache order by operation")
    assert [operation for _, operation in shown] == ["face-detail", "remove-background", "upscale"]


def test_another_operation_on_an_imported_picture_is_made_and_the_picture_is_known_then(
    importing: Import, owner_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cache()
    importing()
    assert rows(owner_url, "select count(*) from public.processed_uploads") == [(0,)]
    assert process("dog.png", "upscale", capsys)["made"] == 1
    shown = rows(owner_url, "select image_hash, upscaled is null, face_detailed is null from public.processed_uploads")
    assert shown == [(digest_of("dog.png"), False, False)]


def test_second_import_skips_and_a_dry_run_keeps_nothing(importing: Import, owner_url: str) -> None:
    write_cache()
    code, figures, _ = importing("--dry-run")
    assert (code, figures["would_be_kept"]) == (EXIT_OK, 3)
    assert rows(owner_url, "select count(*) from public.generation_status") == [(0,)]
    importing()
    code, figures, _ = importing()
    assert (code, figures["kept"], figures["skipped"]) == (EXIT_OK, 0, 3)


def test_what_cannot_be_kept_is_told_line_by_line_and_the_others_are_kept(importing: Import) -> None:
    Path("secret.png").write_bytes(Path("public/processed/cut.png").read_bytes())
    Path("public/processed/text.png").write_text("no picture")
    Path("public/processed/moving.gif").write_bytes(b"GIF89a\x10\0")
    write_cache(
        **{
            "short": {"upscaled": "processed/cut.png"},
            "a" * 64: {"upscaled": "processed/gone.png"},
            "b" * 64: {"upscaled": "../secret.png"},
            "c" * 64: {"upscaled": str(Path("secret.png").absolute())},
            "d" * 64: {"upscaled": "processed/text.png"},
            "9" * 64: {"upscaled": "processed/moving.gif"},
            "e" * 64: {"upscaled": {"url": "https://example.com/x.png"}},
            "f" * 64: ["processed/cut.png"],
        }
    )
    code, figures, said = importing()
    assert (code, figures["kept"], figures["failed"]) == (EXIT_FAILED, 3, 8)
    lines = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
    assert lines["short"] == "The SHA-256 of a picture has 64 hexadecimal digits."
    assert lines["a" * 64 + " upscaled"] == "there is no such file below --root"
    assert lines["b" * 64 + " upscaled"] == "the file's name has control characters or .. in it"
    assert lines["c" * 64 + " upscaled"] == "there is no such file below --root"
    assert lines["d" * 64 + " upscaled"] == 'it is no jpeg, png or webp: it begins with "no picture"'
    assert lines["9" * 64 + " upscaled"].endswith("begins with 47 49 46 38 39 61 10 00")
    assert lines["e" * 64 + " upscaled"] == "it names no path"
    assert lines["f" * 64] == "it is no object of results"


def test_results_of_a_model_that_is_named_count_as_made_by_it(importing: Import, owner_url: str) -> None:
    write_cache()
    importing("--model", "upscale=copperplate/painter-upscale-1")
    question = (
        "select p.operation, e.is_ai_made from public.processed_image_cache as p "
        "join copperplate.cache_entries as e on p.generation_hash = e.generation_key order by 1"
    )
    assert rows(owner_url, question) == [("face-detail", False), ("remove-background", False), ("upscale", True)]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("[]", [], "cannot be read as a cache: Send a JSON object."),
        ("{", [], "cannot be read as a cache: This is not JSON in UTF-8."),
        (None, [], "cannot be read as a cache: No such file or directory"),
        ("{}", ["--root", "missing"], "--root is no folder"),
        ("{}", ["--model", "upscale=another"], "This model does not do this operation here."),
        ("{}", ["--model", "crop=another"], "operation=model with one of"),
    ],
)
def test_what_is_not_known_is_refused_with_2(
    importing: Import, capsys: pytest.CaptureFixture[str], text: str | None, options: list[str], said: str
) -> None:
    if text is not None:
        Path(".cache/image-processing-cache.json").write_text(text)
    try:
        code, _, err = importing(*options)
    except SystemExit as ended:
        code, err = int(str(ended.code)), capsys.readouterr().err
    assert code == EXIT_USAGE
    assert said in err


def test_the_page_shows_what_the_command_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    section = PAGE.read_text().partition("\n## An older system's cache")[2]
    command, shown, example = (block.partition("\n")[2] for block in section.split("```")[1:6:2])
    write_cache()
    assert main(command.split()[1:]) == EXIT_OK
    printed = capsys.readouterr().out
    # Encoders of other versions make other numbers of bytes.
    assert [line for line in printed.splitlines() if "bytes" not in line] == [
        line for line in shown.splitlines() if "bytes" not in line
    ]
    (entry,) = json.loads(example).values()
    for path in ("processed/cat-no-background.png", "processed/cat-large.webp"):
        Image.linear_gradient("L").convert("RGB").save(f"public/{path}")
    assert set(entry) == {"bgRemoved", "upscaled", "timestamp"}
    Path("example.json").write_text(example)
    assert main(["import-processing-cache", "example.json", "--root", "public"]) == EXIT_OK
