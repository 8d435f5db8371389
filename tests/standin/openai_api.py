"""STAND-IN for OpenAI's `POST /v1/images/generations`, made from the SDK's types and public error bodies."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.standin import answers
from tests.standin.bill import tokens
from tests.standin.drawings import draw

if TYPE_CHECKING:
    from starlette.requests import Request

    from tests.standin.scenario_log import Drawing, Scenario, ScenarioLog

# status, type, code
REFUSALS: dict[str, tuple[int, str, str | None]] = {
    "moderated": (400, "image_generation_user_error", "moderation_blocked"),
    "http_400": (400, "invalid_request_error", "invalid_value"),
    "http_401": (401, "invalid_request_error", "invalid_api_key"),
    "http_403": (403, "invalid_request_error", "unsupported_country_region_territory"),
    "http_404": (404, "invalid_request_error", "model_not_found"),
    "http_408": (408, "server_error", None),
    "http_409": (409, "server_error", None),
    "http_422": (422, "invalid_request_error", "invalid_value"),
    "http_429": (429, "requests", "rate_limit_exceeded"),
    "no_quota": (429, "insufficient_quota", "insufficient_quota"),
    "http_500": (500, "server_error", None),
    "http_502": (502, "server_error", None),
    "http_503": (503, "server_error", None),
    "http_504": (504, "server_error", None),
}


class OpenAIApi:
    """The one route."""

    def __init__(self, scenario_log: ScenarioLog) -> None:
        self._book = scenario_log

    def routes(self) -> list[Route]:
        return [Route("/v1/images/generations", self.generate, methods=["POST"])]

    async def generate(self, request: Request) -> Response:
        body = await request.json()
        prompt = str(body.get("prompt"))
        self._book.posts[prompt] += 1
        self._book.note("POST", request.url.path, dict(request.headers), body)
        scenario = self._book.next_scenario(prompt)
        if self._book.canned is not None:
            return answers.canned(self._book.canned)
        if refusal := refuse(scenario):
            return refusal
        width, height = (int(side) for side in str(body.get("size", "1024x1024")).split("x"))
        model, quality = str(body.get("model")), str(body.get("quality"))
        drawing = self._book.begin(
            provider="openai",
            prompt=prompt,
            width=width,
            height=height,
            scenario=scenario,
            model=model,
            usage=tokens(model, quality, width, height, prompt),
            is_billed=True,  # it is drawn, whether or not the answer arrives
        )
        if scenario.is_("drop"):
            return answers.drop(request)
        if scenario.is_("slow"):
            await asyncio.sleep(float(scenario.value))
        if scenario.is_("held"):
            await answers.held(self._book)
        return answers.disguised(JSONResponse(answer(drawing, scenario)), scenario, "answer")


def refuse(scenario: Scenario) -> Response | None:
    """A request that is not taken on."""
    if gateway := answers.gateway(scenario):
        return gateway
    if scenario.name not in REFUSALS:
        return None
    status, kind, code = REFUSALS[scenario.name]
    error = {"message": "the stand-in was told to refuse", "type": kind, "param": None, "code": code}
    return answers.problem(status, {"error": error}, **answers.retry_after(scenario.value))


def answer(drawing: Drawing, scenario: Scenario) -> Any:
    """A body with one picture, or what a scenario makes of it."""
    encoded = base64.b64encode(draw(drawing.number, drawing.width, drawing.height, scenario.name)).decode()
    image = {"b64_json": encoded}
    url_safe = encoded.translate(str.maketrans("+/", "-_"))
    lines = "\r\n".join(encoded[first : first + 76] for first in range(0, len(encoded), 76))
    read, drawn = drawing.usage["text_tokens"], drawing.usage["output_tokens"]
    body = {
        "created": 1_795_000_000,
        "background": "opaque",
        "data": [image],
        "output_format": "png",
        "quality": "medium",
        "size": f"{drawing.width}x{drawing.height}",
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": read},
            "output_tokens": drawn,
            "output_tokens_details": {"image_tokens": drawn, "text_tokens": 0},
            "total_tokens": read + drawn,
        },
    }
    shapes: dict[str, Any] = {
        "two_images": {**body, "data": [image, image]},
        "no_images": {**body, "data": []},
        "images_missing": {"created": 1},
        "images_null": {**body, "data": None},
        "image_without_bytes": {**body, "data": [{"url": "https://example.com/a.png"}]},
        "bytes_not_base64": {**body, "data": [{"b64_json": "@@@@"}]},
        "bytes_data_url": {**body, "data": [{"b64_json": f"data:image/png;base64,{encoded}"}]},
        "bytes_data_url_escaped": {**body, "data": [{"b64_json": _escaped_data_url(encoded)}]},
        "bytes_data_url_parameters": {**body, "data": [{"b64_json": f"DATA:image/png;charset=utf-8;base64,{encoded}"}]},
        "bytes_url_safe": {**body, "data": [{"b64_json": url_safe}]},
        "bytes_unpadded": {**body, "data": [{"b64_json": encoded.rstrip("=")}]},
        "bytes_url_safe_unpadded": {**body, "data": [{"b64_json": url_safe.rstrip("=")}]},
        "bytes_in_lines": {**body, "data": [{"b64_json": f" {lines}\n"}]},
        "url_data_url": {**body, "data": [{"url": f"data:image/png;base64,{encoded}"}]},
        "url_data_url_beside_null": {**body, "data": [{"b64_json": None, "url": f"data:;base64,{encoded}"}]},
        "bytes_are_text": {**body, "data": [{"b64_json": "data:image/png,hello"}]},
        "bytes_are_address": {**body, "data": [{"b64_json": "https://example.com/a.png"}]},
        "bytes_number": {**body, "data": [{"b64_json": 7}]},
        "result_list": [body],
        "result_null": None,
        "usage_missing": {key: value for key, value in body.items() if key != "usage"},
        "usage_odd": {**body, "usage": {"output_tokens": "many"}},
    }
    return shapes.get(scenario.name, body)


def _escaped_data_url(encoded: str) -> str:
    """A comma in a parameter, percent signs in either case, and lines."""
    escaped = encoded.replace("+", "%2b").replace("/", "%2F").replace("=", "%3d")
    return f'data:image/png;name="a,b";base64,{escaped[:40]}%0A{escaped[40:]}'
