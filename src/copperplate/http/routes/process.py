"""`POST /api/process/{operation}`: what somebody does to a picture that they bring, done once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from copperplate.generation.lookup import LookupResult
from copperplate.http.api import preflight
from copperplate.http.callers import caller_of
from copperplate.http.dependencies import PROBLEMS, ServicesDep, no_store
from copperplate.http.negotiation import prefers_picture
from copperplate.http.openapi import FOR_ANYBODY
from copperplate.http.origin import base_url_of
from copperplate.http.parameters import ignored_header, note_known, refuse_unknown
from copperplate.http.preferences import read_preferences
from copperplate.http.problems import HEADERS
from copperplate.http.process_bodies import SOURCE, UPLOAD, read_request_body
from copperplate.http.process_requests import known_names, read_process_parameters, read_query
from copperplate.http.processed_answers import entry_fields, origin_fields, picture_answer, request_fields
from copperplate.http.promised_answers import promise_headers, promise_told
from copperplate.http.request_log import log_request
from copperplate.http.schemas import process as schemas
from copperplate.http.schemas.process_bodies import BODY, PARAMETERS
from copperplate.http.schemas.statistics import MICRO
from copperplate.http.spending_problems import REFUSALS
from copperplate.model import Outcome, PictureFormat
from copperplate.processing.upload_shares import Uploader
from copperplate.recipes.kinds import PROCESSED
from copperplate.source_errors import SourceUnknown
from copperplate.source_pictures import Operation

if TYPE_CHECKING:
    from copperplate.access.caller import Caller
    from copperplate.http.preferences import Preferences
    from copperplate.http.process_bodies import RequestBody
    from copperplate.http.process_requests import ProcessParameters
    from copperplate.model import PictureRequest
    from copperplate.processing.sources import Source
    from copperplate.services import Services
    from copperplate.source_pictures import Parent

PATH: Final = "/api/process"
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "model": schemas.ProcessedAnswer,
        "description": "The result; where `Accept` prefers a picture, the picture",
        "content": {
            picture_format.media_type: {"schema": {"type": "string", "contentMediaType": picture_format.media_type}}
            for picture_format in (PictureFormat.PNG, PictureFormat.JPG, PictureFormat.WEBP)
        },
    },
    202: {"model": schemas.PromisedProcessing, "description": "It is being made"},
    **REFUSALS,
    **PROBLEMS,
}
# An Idempotency-Key is taken and not needed: the bytes themselves say what is the same.
PREFLIGHT: Final = preflight("POST", "content-type", "idempotency-key", "prefer", "x-api-key")

router = APIRouter(dependencies=[Depends(no_store)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed:
    """A result, and how this request came by it; without `found` it is promised."""

    request: PictureRequest
    source: Source
    found: LookupResult | None

    @property
    def outcome(self) -> Outcome | None:
        """None where it is promised."""
        return None if self.found is None else self.found.outcome


async def process(operation: Operation, request: Request, services: ServicesDep) -> Response:
    """A picture processed, unless the same bytes were: by whatever name they come, whoever sent them before.

    The body is a form with a part named `file`, the bytes themselves, or JSON that names a picture. Parameters of the
    model, and `model`, stand in the query, in fields of the form, or in the JSON. The answer is JSON, or the picture
    where `Accept` prefers one. It waits for the result; where that takes too long, where `Prefer: wait=N` wants it
    within N seconds, and with `Prefer: respond-async`, it is 202: the result is made although nobody waits.
    """
    known = known_names(services.processing.models)
    note_known(request.scope, known)
    refuse_unknown(request.scope)
    caller = await caller_of(request.scope, services)
    preferences = read_preferences(request.scope["headers"])
    base_url_of(request.scope, services.settings)  # before anything is spent
    asked = _ProcessRequest(operation, request, services, caller, preferences)
    query = read_query(request.scope["query_string"], known)
    budget = services.processing.sources.budget
    uploader = Uploader.of(caller, may_spend=services.processing.may_spend(caller))
    body = await read_request_body(request, budget, uploader, on_vercel=services.settings.on_vercel)
    given = read_process_parameters(query, body, services.processing.models)
    answer = await asked.answer(body, given)
    for name, value in ignored_header(given.ignored):
        answer.headers[name.decode()] = value.decode()
    return answer


async def answer_preflight() -> Response:
    """Any origin may ask: neither key nor token is a cookie, which a browser would add by itself."""
    return Response(status_code=204, headers=PREFLIGHT)


class _ProcessRequest:
    """One picture that a caller wants processed."""

    def __init__(
        self, operation: Operation, request: Request, services: Services, caller: Caller, preferences: Preferences
    ) -> None:
        self._operation = operation
        self._scope = request.scope
        self._services = services
        self._caller = caller
        self._preferences = preferences
        self._started = services.clock.monotonic()

    async def answer(self, body: RequestBody, given: ProcessParameters) -> Response:
        """The result, or the promise of it."""
        processing = self._services.processing
        model = processing.model_for(self._operation, given.model)
        # What is wrong with them is said before the picture is looked at.
        model.canonical_parameters(given.parameters)
        source = await self._source(body, given)
        request = processing.request_for(source, model, given.parameters)
        found = await processing.find(request, source, self._caller, within_seconds=self._preferences.within_seconds)
        done = Processed(request=request, source=source, found=found if isinstance(found, LookupResult) else None)
        self._log(done)
        return await (self._promised(done) if done.found is None else self._made(done, done.found))

    async def _source(self, body: RequestBody, given: ProcessParameters) -> Source:
        """The source. Raises why this caller may not have anything made where its bytes are not known."""
        sources, caller = self._services.processing.sources, self._caller
        may_spend = self._services.processing.may_spend(caller)
        if body.named is not None and body.named[0] == SOURCE:
            return await sources.of_kept(body.named[1], caller)
        parent = None
        if given.parent is not None:
            parent = await sources.parent_of(given.parent, caller, given.crop)
        if body.file is None:
            return await self._fetched(body, parent)
        try:
            return await sources.of_held(body.file, caller, parent=parent, may_decode=may_spend)
        except SourceUnknown:
            self._services.processing.require_may_spend(caller)
            raise

    async def _fetched(self, body: RequestBody, parent: Parent | None) -> Source:
        sources, caller = self._services.processing.sources, self._caller
        assert body.named is not None  # noqa: S101 - a body brings bytes, or names what has them
        how, name = body.named
        # Nothing is fetched for those who may have nothing made.
        self._services.processing.require_may_spend(caller)
        return await (sources.of_upload if how == UPLOAD else sources.of_url)(name, caller, parent=parent)

    async def _made(self, done: Processed, found: LookupResult) -> Response:
        if prefers_picture(self._scope["headers"]):
            answer = await picture_answer(self._scope, self._services, done.request, found.entry, found.outcome)
        else:
            completed = await self._completed(done, found)
            answer = Response(completed.model_dump_json(), headers=HEADERS, media_type="application/json")
        if self._preferences.applied:
            answer.headers["preference-applied"] = self._preferences.applied
        return answer

    async def _completed(self, done: Processed, found: LookupResult) -> schemas.ProcessedAnswer:
        cost = self._services.cost_of(done.request, found.outcome)
        origin = await origin_fields(
            self._services, done.request.generation_key, done.source.picture.parent, self._caller
        )
        return schemas.ProcessedAnswer(
            status="completed",
            kind="processed",
            cached=found.outcome is Outcome.HIT,
            cost_usd=None if cost is None else cost / MICRO,
            credits_left=await self._credits_left(),
            **origin,
            **request_fields(done.request),
            **await entry_fields(self._scope, self._services, found.entry),
        )

    async def _credits_left(self) -> int | None:
        user = self._caller.user
        if user is None or not self._services.processing.credits_for(self._operation, self._caller):
            return None
        return (await self._services.ledger.credits(user.id)).available

    async def _promised(self, done: Processed) -> Response:
        base = base_url_of(self._scope, self._services.settings)
        fields: dict[str, Any] = await promise_told(
            self._services, PROCESSED.name, done.request.generation_key, base=base
        )
        answer = schemas.PromisedProcessing(**{**request_fields(done.request), **fields})
        headers = promise_headers(done.request.generation_key, self._preferences)
        return Response(answer.model_dump_json(), 202, headers=dict(headers), media_type="application/json")

    def _log(self, done: Processed) -> None:
        log_request(
            "POST",
            202 if done.found is None else 200,
            outcome=done.outcome,
            key=done.request.generation_key,
            seconds=self._services.clock.monotonic() - self._started,
            size_bytes=0,
            cost_micro_usd=self._services.cost_of(done.request, done.outcome),
            saved_micro_usd=self._services.savings_of(done.request, done.outcome),
        )


def _add_operation(operation: Operation) -> None:
    path = f"{PATH}/{operation.value}"
    router.add_api_route(
        path,
        partial(process, operation),
        methods=["POST"],
        name=f"process_{operation.name.lower()}",
        description=process.__doc__,
        response_class=Response,
        responses=RESPONSES,
        openapi_extra={**FOR_ANYBODY, "parameters": PARAMETERS, "requestBody": BODY},
        tags=["process"],
    )
    router.add_api_route(path, answer_preflight, methods=["OPTIONS"], include_in_schema=False)


for _operation in Operation:
    _add_operation(_operation)
