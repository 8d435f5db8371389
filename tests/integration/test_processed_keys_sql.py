"""Python and SQL make the same keys of the same processed pictures, and refuse what names none."""

from __future__ import annotations

import random
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest

from copperplate.processing_models import ChoiceParameter, NumberParameter, ProcessingModel
from copperplate.recipes.objects import sha256_hex
from copperplate.recipes.processed import processed_recipe, processed_request, read_digest
from copperplate.source_pictures import Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

RECIPES: Final = 2_000
REFUSED: Final = "ZC001"
DIGEST: Final = sha256_hex(b"test")
KEY_OF = "select public.processed_cache_key(%s, %s, %s, %s::text[], %s::text[])"


@pytest.fixture
def owner(owner_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


def model_of(rng: random.Random) -> ProcessingModel:
    """A model of some numbers and words, with settings; names differ by what sorts around `=`."""
    names = rng.sample(("scale", "scale_2", "scale2", "fidelity", "a", "a_b", "ab", "variant", "z9"), rng.randint(0, 5))
    return ProcessingModel(
        name=rng.choice(("fal-ai/birefnet/v2", "fal-ai/seedvr/upscale", "copperplate/painter-1", "x" * 200)),
        operation=rng.choice(tuple(Operation)),
        parameters=tuple(
            NumberParameter(name=name, default=Decimal("0.5"), least=Decimal(-8), most=Decimal(8), decimals=2)
            if rng.random() < 0.5
            else ChoiceParameter(name=name, default="Light", choices=("Light", "light heavy", "~", "", "a,b", 'q"\\'))
            for name in names
        ),
        settings=tuple(
            f"{name}={rng.choice(('true', '4', 'webp'))}" for name in rng.sample(("s", "s_1", "s1", "t"), 2)
        ),
    )


def given_to(model: ProcessingModel, rng: random.Random) -> dict[str, str]:
    return {
        each.name: rng.choice(each.choices) if isinstance(each, ChoiceParameter) else f"{rng.uniform(-8, 8):.2f}"
        for each in model.parameters
        if rng.random() < 0.7
    }


def test_sql_makes_the_keys_of_thousands_of_recipes_as_python_does(owner: psycopg.Connection[Any]) -> None:
    rng = random.Random(20_261_130)
    keys = set[str]()
    with owner.cursor() as cursor:
        for _ in range(RECIPES):
            model, source = model_of(rng), sha256_hex(rng.randbytes(8))
            given = given_to(model, rng)
            parameters = [*model.canonical_parameters(given), *model.canonical_parameters(given)[:1]]
            settings = list(model.settings)
            rng.shuffle(parameters)
            rng.shuffle(settings)
            spelled = source.upper() if rng.random() < 0.5 else source
            cursor.execute(KEY_OF, [spelled, model.operation.value, model.name, parameters, settings])
            ours = processed_request(processed_recipe(read_digest(spelled), model, given)).generation_key
            assert cursor.fetchone() == (ours,)
            keys.add(ours)
    assert len(keys) == RECIPES


def test_the_example_in_the_documentation_is_its_key(owner: psycopg.Connection[Any]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "keys.md").read_text()
    [(call, key)] = re.findall(r"```sql\n-- a processed picture\n(.*?);\n-- ([0-9a-f]{64})\n```", text, re.DOTALL)
    assert owner.execute(call.encode()).fetchone() == (key,)
    model = ProcessingModel(
        name="fal-ai/esrgan",
        operation=Operation.UPSCALE,
        parameters=(NumberParameter(name="scale", default=Decimal(2), least=Decimal(1), most=Decimal(4)),),
        settings=("output_format=png",),
    )
    assert processed_request(processed_recipe(DIGEST, model, {})).generation_key == key


@pytest.mark.parametrize(
    "wrong",
    [
        {"p_source": None},
        {"p_source": "photo.png"},
        {"p_source": DIGEST + "0"},
        {"p_operation": "bg_removed"},
        {"p_operation": None},
        {"p_model": ""},
        {"p_model": "a b"},
        {"p_parameters": ["scale=2", "scale=4"]},
        {"p_parameters": ["scale"]},
        {"p_parameters": [None]},
        {"p_parameters": ["Scale=2"]},
        {"p_parameters": ["fidelity=-0"]},
        {"p_parameters": ["fidelity=-0.0"]},
        {"p_settings": ["scale=3"]},
        {"p_settings": ["=3"]},
    ],
)
def test_what_names_no_processed_picture_is_refused_with_advice(
    owner: psycopg.Connection[Any], wrong: dict[str, Any]
) -> None:
    right = {
        "p_source": DIGEST,
        "p_operation": "upscale",
        "p_model": "m",
        "p_parameters": ["scale=2"],
        "p_settings": [],
    }
    with pytest.raises(psycopg.Error) as refusal:
        owner.execute(KEY_OF, list((right | wrong).values()))
    assert refusal.value.sqlstate == REFUSED
    assert refusal.value.diag.message_hint
