"""Renditions of an imported picture say that a model made it only where the list names the model."""

from __future__ import annotations

from io import BytesIO

import httpx
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from copperplate.generation.lookup import LOOK_ONLY
from copperplate.http.app import create_app
from copperplate.model import PictureFormat
from copperplate.testing import GENERATE
from tests.support.painting_services import painting_services
from tests.support.pictures import MODEL, picture_request
from tests.support.xmp import label, packets
from tests.unit.test_import_pictures import row, run

TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def picture(side: int = 64) -> bytes:
    target = BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert("RGB").save(target, "PNG")
    return target.getvalue()


@pytest.mark.parametrize("model", [MODEL, None])
async def test_what_is_stored_beside_it_and_what_is_made_later_are_labelled_alike(model: str | None) -> None:
    async with painting_services() as services:
        rows = [row(2, "sun", model=model), row(3, "moon", model=model, format=PictureFormat.WEBP)]
        importing, faults = await run(services, rows, {"a.png": picture()})
        assert (importing.endings, faults) == ({"kept": 2}, {})
        for prompt in ("sun", "moon"):
            for picture_format in PictureFormat:
                asked = picture_request(prompt, picture_format)
                found = await services.renditions.read(asked, GENERATE)
                assert found.body is not None
                if model is None:
                    assert packets(found.body) == []
                else:
                    assert label(found.body)["AISystemUsed"] == model
                entry = (await services.coordinator.find(asked, LOOK_ONLY)).entry
                assert entry.is_ai_made is (model is not None)
        assert services.image_provider.submits == 0


async def test_a_picture_that_says_that_a_model_made_it_is_labelled_without_naming_one() -> None:
    target = BytesIO()
    source = Image.open(BytesIO(picture()))
    mark = PngInfo()
    mark.add_itxt("XML:com.adobe.xmp", f"<x>{TRAINED}</x>")
    source.save(target, "PNG", pnginfo=mark)
    async with painting_services() as services:
        await run(services, [row(2)], {"a.png": target.getvalue()})
        for picture_format in PictureFormat:
            found = await services.renditions.read(picture_request(picture_format=picture_format), GENERATE)
            assert found.body is not None
            assert label(found.body) == {"DigitalSourceType": TRAINED}


async def test_the_original_keeps_its_bytes_and_the_picture_is_cut_to_its_canvas() -> None:
    body = picture(200)
    async with painting_services() as services:
        await run(services, [row(2, width=128, height=64)], {"a.png": body})
        [key] = services.ledger._generations
        kept = await services.ledger.describe_kept(key)
        assert kept is not None
        assert await services.store.get(kept.original.path) == body
        sizes = {str(form.size) for form in kept.forms if not form.is_original}
        assert sizes == {"128x64"}


async def test_a_picture_that_is_no_picture_or_too_small_is_refused() -> None:
    bodies = {"text.png": b"<html>", "cut.png": picture()[:-30], "small.png": picture(32), "a.png": picture()}
    async with painting_services() as services:
        rows = [row(line, f"{name}", name) for line, name in enumerate(bodies, 2)]
        importing, faults = await run(services, rows, bodies)
        assert importing.endings == {"kept": 1, "failed": 3}
        assert "does not cover 64x64" in faults[4]


@pytest.mark.parametrize("model", [MODEL, None])
async def test_what_is_said_of_a_kept_picture_names_a_model_only_where_the_list_does(model: str | None) -> None:
    async with painting_services() as services:
        await run(services, [row(2, model=model)], {"a.png": picture()})
        transport = httpx.ASGITransport(create_app(services=services))
        async with httpx.AsyncClient(transport=transport, base_url="http://pictures.test") as client:
            info = (await client.get(f"/api/images/{picture_request().generation_key}/info.json")).json()
            tiny = await client.get("/64x64.jpg?text=a%20beautiful%20sunset&placeholder")
        source = None if model is None else TRAINED
        assert info["provenance"] == {"digital_source_type": source, "model": model, "c2pa": False}
        assert tiny.status_code == 200
        assert bool(packets(tiny.content)) is (model is not None)
