"""STAND-IN for fal's queue: submit, status, result, cancel, and the files it would keep at its CDN.

Made from fal-client's source and fal's documents, not from recordings: no recording of the queue is public.
"""

from __future__ import annotations

import asyncio
import base64
import re
from time import monotonic
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.standin import answers, fal_endpoints
from tests.standin.bill import megapixels
from tests.standin.drawings import SPOILT, draw, numbered
from tests.standin.scenario_log import Scenario

if TYPE_CHECKING:
    from starlette.requests import Request

    from tests.standin.scenario_log import Drawing, ScenarioLog

_OWN_ERROR = re.compile(r"(status|result)_([345]\d\d)")
_FILE_ERROR = re.compile(r"file_([2345]\d\d)")
# What a job that failed answers where its result would be, and what its status says.
FAILED_JOBS: dict[str, tuple[int, object, str]] = {
    "job_moderated": (
        422,
        {"detail": [{"loc": ["body", "prompt"], "msg": "flagged", "type": "content_policy_violation"}]},
        "content_policy_violation",
    ),
    "job_invalid": (422, {"detail": [{"loc": ["body", "seed"], "msg": "bad", "type": "value_error"}]}, "value_error"),
    "job_not_loaded": (
        422,
        {
            "detail": [
                {
                    "loc": ["body", "image_url"],
                    "msg": "Failed to download the file at https://storage.example.com/a?token=secret.",
                    "type": "file_download_error",
                }
            ]
        },
        "file_download_error",
    ),
    "job_500": (500, {"detail": "internal", "error_type": "internal_error"}, "internal_error"),
    "job_503": (503, {"detail": "no runner", "error_type": "runner_disconnected"}, "runner_disconnected"),
    "job_504": (504, {"detail": "too slow", "error_type": "request_timeout"}, "request_timeout"),
    "job_failed_200": (200, {"detail": "it failed"}, "internal_error"),
}
FOREIGN_FILES = {
    "file_metadata": "http://169.254.169.254/latest/meta-data/",
    "file_foreign": "https://pictures.example.com/a.png",
    "file_lookalike": "https://fal.media.example.com/a.png",
    "file_suffix": "https://notfal.media/a.png",
    "file_userinfo": "https://fal.media@example.com/a.png",
    "file_user_of_fal": "https://user:word@fal.media/a.png",
    "file_port": "https://fal.media:8443/a.png",
    "file_plain_http": "http://fal.media/a.png",
    "file_ip": "https://93.184.216.34/a.png",
    "file_ip6": "https://[::1]/a.png",
    "file_localhost": "http://localhost:1/a.png",
    "file_scheme": "file:///etc/passwd",
    "file_backslash": "https://fal.media\\@example.com/a.png",
    "file_space": "https://fal.media /a.png",
    "file_fullwidth": "https://fal\uff0emedia/a.png",
    "file_bucket_lookalike": "https://storage.googleapis.com.example.com/a.png",
    "file_no_url": "",
    "file_data_text": "data:text/plain,hello",
    "file_data_broken": "data:image/png;base64,@@@@",
    "file_data_html": "data:image/png;base64," + base64.b64encode(b"<html></html>").decode(),
}


class FalQueue:
    """The routes of fal's queue."""

    def __init__(self, scenario_log: ScenarioLog) -> None:
        self._book = scenario_log

    def routes(self) -> list[Route]:
        return [
            Route("/files/{id}/{name}", self.file),
            Route("/{app:path}/requests/{id}/status", self.status),
            Route("/{app:path}/requests/{id}/cancel", self.cancel, methods=["PUT"]),
            Route("/{app:path}/requests/{id}", self.result),
            Route("/{app:path}", self.submit, methods=["POST"]),
        ]

    async def submit(self, request: Request) -> Response:
        body = await request.json()
        app = request.path_params["app"]
        endpoint = fal_endpoints.ENDPOINTS.get(app)
        # What processes pictures is known by its name, as it has no prompt.
        prompt = str(body.get("prompt")) if endpoint is None else app
        self._book.posts[prompt] += 1
        self._book.note("POST", request.url.path, dict(request.headers), body)
        scenario = self._book.next_scenario(prompt)
        if self._book.canned is not None:
            return answers.canned(self._book.canned)
        if refusal := refuse(scenario):
            return refusal
        if endpoint is not None and (problem := fal_endpoints.problem_of(endpoint, body)) is not None:
            return answers.problem(422, problem)
        drawing = await self._begin(prompt, app, body, scenario)
        if scenario.is_("drop"):
            return answers.drop(request)
        if scenario.is_("slow_submit"):
            await asyncio.sleep(float(scenario.value))
        # The path of a job names owner and alias only, as fal's does.
        base = f"{request.base_url}{'/'.join(app.split('/')[:2])}/requests/{drawing.id}"
        receipt = {
            "request_id": drawing.id,
            "response_url": base,
            "status_url": f"{base}/status",
            "cancel_url": f"{base}/cancel",
            "queue_position": 0,
        }
        return spoil_receipt(receipt, scenario)

    async def _begin(self, prompt: str, app: str, body: Any, scenario: Scenario) -> Drawing:
        """A picture that is drawn by a prompt, or made of another; one whose input cannot be loaded fails."""
        endpoint, made = fal_endpoints.ENDPOINTS.get(app), None
        size = body.get("image_size") or {}
        width, height = int(size.get("width", 1024)), int(size.get("height", 768))
        if endpoint is not None:
            try:
                made, width, height = await fal_endpoints.process(endpoint, body, scenario.name)
            except fal_endpoints.NotLoaded:
                scenario = Scenario("job_not_loaded")
        return self._book.begin(
            provider="fal",
            prompt=prompt,
            width=width,
            height=height,
            scenario=scenario,
            model=app,
            usage=megapixels(width, height) if endpoint is None else fal_endpoints.units_of(endpoint, width, height),
            # Whether or not anybody fetches it: it runs. One that fails is not billed, nor one that never ends.
            is_billed=scenario.name not in (*FAILED_JOBS, "stuck"),
            made=made,
            is_alone=endpoint is not None and endpoint.answer == "image",
        )

    async def status(self, request: Request) -> Response:
        self._book.note("GET", str(request.url), dict(request.headers))
        drawing = self._book.drawings.get(request.path_params["id"])
        if drawing is None:
            return answers.problem(404, {"detail": "Request not found"})
        scenario = drawing.acts("status")
        drawing.polls += 1
        if scenario.is_("status_drop") or (
            scenario.is_("drop_status") and drawing.polls <= int(drawing.scenario.value or 1)
        ):
            return answers.drop(request)
        state = JSONResponse(self._state(drawing))
        return odd_status(scenario) or answers.disguised(state, scenario, "status")

    def _state(self, drawing: Drawing) -> dict[str, Any]:
        scenario = drawing.scenario
        if scenario.is_("stuck") or (scenario.is_("held") and not self._book.released.is_set()):
            return {"status": "IN_PROGRESS", "logs": None}
        seconds = float(scenario.value) if scenario.is_("slow") else 0.0
        if drawing.polls == 1:
            return {"status": "IN_QUEUE", "queue_position": 0}
        if drawing.polls == 2 or monotonic() - drawing.begun < seconds:
            return {"status": "IN_PROGRESS", "logs": None}
        failed = FAILED_JOBS.get(scenario.name)
        error = {"error": "the job failed", "error_type": failed[2]} if failed else {}
        return {"status": "COMPLETED", "logs": None, "metrics": {"inference_time": 0.35}, **error}

    async def result(self, request: Request) -> Response:
        self._book.note("GET", str(request.url), dict(request.headers))
        drawing = self._book.drawings.get(request.path_params["id"])
        if drawing is None:
            return answers.problem(404, {"detail": "Request not found"})
        scenario = drawing.acts("result")
        if scenario.is_("result_drop"):
            return answers.drop(request)
        if odd := odd_result(scenario):
            return odd
        headers = {"X-Fal-Billable-Units": drawing.billed_units, "x-fal-request-id": drawing.id}
        result = JSONResponse(self._result(request, drawing, scenario), headers=headers)
        return answers.disguised(result, scenario, "result")

    def _result(self, request: Request, drawing: Drawing, scenario: Scenario) -> Any:
        url = FOREIGN_FILES.get(scenario.name, f"{request.base_url}files/{drawing.id}/picture.png")
        if scenario.is_("data_url"):
            picture = numbered(drawing.number, drawing.width, drawing.height)
            url = "data:image/png;base64," + base64.b64encode(picture).decode()
        if scenario.is_("file_elsewhere", "result_elsewhere"):
            url = scenario.value or "https://pictures.example.com/a.png"
        # The extension and the type lie, as fal's do.
        image = {"url": url, "width": drawing.width, "height": drawing.height, "content_type": "image/jpeg"}
        result: dict[str, Any] = {
            "images": [image],
            "timings": {"inference": 0.35},
            "seed": 17454220438242315174,
            "has_nsfw_concepts": [scenario.is_("nsfw")],
            "prompt": drawing.prompt,
        }
        if drawing.made is not None:
            result = {"image": image, "seed": 1} if drawing.is_alone else {"images": [image], "seed": 1}
        shapes: dict[str, Any] = {
            "two_images": {**result, "images": [image, image]},
            "no_images": {**result, "images": []},
            "images_missing": {"seed": 1},
            "images_null": {**result, "images": None},
            "image_alone": {**{k: v for k, v in result.items() if k != "images"}, "image": image},
            "empty": {},
            "image_is_text": {**result, "images": [url]},
            "image_without_url": {**result, "images": [{"width": 1}]},
            "image_url_number": {**result, "images": [{"url": 7}]},
            "result_list": [result],
            "result_null": None,
            "nsfw_unlisted": {**result, "has_nsfw_concepts": True},
        }
        return shapes.get(scenario.name, shapes.get(scenario.name.removeprefix("result_"), result))

    async def cancel(self, request: Request) -> Response:
        self._book.cancelled.append(request.path_params["id"])
        return answers.problem(202, {"status": "CANCELLATION_REQUESTED"})

    async def file(self, request: Request) -> Response:
        self._book.note("GET", request.url.path, dict(request.headers))
        drawing = self._book.drawings[request.path_params["id"]]
        scenario = drawing.acts("file")
        is_first = request.path_params["name"] == "picture.png"
        targets = {
            "redirect_metadata": "http://169.254.169.254/latest/meta-data/",
            "redirect_foreign": "https://pictures.example.com/a.png",
            "redirect_to": f"http://127.0.0.1:{scenario.value}/a.png",
            "redirect_loop": f"/files/{drawing.id}/again.png",
            "file_redirect_loop": f"/files/{drawing.id}/again.png",
            "redirect_once": f"/files/{drawing.id}/again.png" if is_first else None,
        }
        if target := targets.get(scenario.name):
            return RedirectResponse(target)
        if scenario.is_("drop_file", "file_drop"):
            return answers.drop(request)
        body = draw(drawing.number, drawing.width, drawing.height, scenario.name.removeprefix("file_"))
        if drawing.made is not None and scenario.name.removeprefix("file_") not in SPOILT:
            body = drawing.made
        drawing.polls += 1
        if odd := odd_file(scenario, body, drawing.polls):
            return odd
        encoding = {"Content-Encoding": "gzip"} if scenario.is_("gzipped") else {}
        return Response(body, media_type="image/jpeg", headers=encoding)


def odd_status(scenario: Scenario) -> Response | None:
    """A status that says nothing about the job, or nothing anyone understands."""
    if found := _OWN_ERROR.fullmatch(scenario.name):
        return answers.problem(int(found[2]), {"detail": "not now"})
    match scenario.name:
        case "status_html":
            return Response(answers.NGINX.format("200"), media_type="text/html")
        case "unknown_status":
            return JSONResponse({"status": scenario.value.upper() or "PAUSED", "logs": None})
        case "no_position":
            return JSONResponse({"status": "IN_QUEUE"})
        case "status_list":
            return JSONResponse(["COMPLETED"])
        case _:
            return None


def odd_result(scenario: Scenario) -> Response | None:
    """A result that is none: the job failed, or nothing is learnt of it."""
    if failed := FAILED_JOBS.get(scenario.name):
        return answers.problem(failed[0], failed[1])
    if found := _OWN_ERROR.fullmatch(scenario.name):
        return answers.problem(int(found[2]), {"detail": "Request not found"})
    if scenario.is_("result_403_quoting"):
        return answers.problem(403, {"detail": "Key abc may not read 'grandmother in her garden'"})
    if scenario.name.startswith("result_http_"):
        return Response(answers.NGINX.format("x"), int(scenario.name[-3:]), media_type="text/html")
    return Response(answers.NGINX.format("200"), media_type="text/html") if scenario.is_("result_html") else None


def odd_file(scenario: Scenario, body: bytes, number: int) -> Response | None:
    """Anything but the picture; `number` differs from one request to the next."""
    if found := _FILE_ERROR.fullmatch(scenario.name):
        return Response(b"gone", int(found[1]))
    if scenario.is_("slowloris", "file_slow"):
        return answers.trickle(body, "image/png")
    if scenario.is_("file_cut"):
        # A different part each time, ended as if it were whole.
        return answers.in_parts(body[: len(body) // 2 - number], "image/png")
    return Response(answers.NGINX.format("200"), media_type="text/html") if scenario.is_("file_page") else None


def refuse(scenario: Scenario) -> Response | None:
    """A submit that is not taken on."""
    if answer := answers.gateway(scenario):
        return answer
    match scenario.name:
        case "http_429":
            return answers.problem(429, {"detail": "Too many requests"}, **answers.retry_after(scenario.value))
        case "http_500" | "http_502" | "http_503" | "http_504":
            status = int(scenario.name[5:])
            return answers.problem(status, {"detail": "it failed", "error_type": "internal_error"})
        case "http_400" | "http_401" | "http_402" | "http_403" | "http_404" | "http_408" | "http_413" | "http_422":
            return answers.problem(int(scenario.name[5:]), {"detail": "refused"})
        case "moderated":
            detail = [{"loc": ["body", "prompt"], "msg": "flagged", "type": "content_policy_violation"}]
            return answers.problem(422, {"detail": detail})
        case _:
            return None


def spoil_receipt(receipt: dict[str, Any], scenario: Scenario) -> Response:
    """The answer to a submit that was taken on, as a scenario wants it."""
    match scenario.name:
        case "receipt_foreign":
            receipt["status_url"] = "https://queue.example.com/status"
        case "receipt_without_id":
            del receipt["request_id"]
        case "receipt_without_url":
            del receipt["response_url"]
        case "receipt_without_cancel":
            del receipt["cancel_url"]
        case "receipt_id_alone":
            receipt = {"request_id": receipt["request_id"]}
        case "receipt_useless":
            receipt = {"queue_position": 0}
        case "receipt_id_number":
            receipt["request_id"] = 7
        case "receipt_html":
            return Response(answers.NGINX.format("200"), media_type="text/html")
        case _:
            pass
    return answers.disguised(JSONResponse(receipt), scenario, "receipt")
