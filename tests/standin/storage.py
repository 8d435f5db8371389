"""STAND-IN for Supabase Storage: the routes that clients of a project use for pictures, over a `StorageState`.

Made from a recording of the real service (release 4fa61fb). It believes tokens, as the real one does;
what an `sb_…` key stands for is the gateway's business (`standin.supabase`).
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import math
import re
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tests.standin import answers
from tests.standin.assets import asset, read_upload
from tests.standin.storage_state import ROW_LEVEL_SECURITY, Bucket, Refused, StorageState
from tests.support.postgrest_server import JWT_SECRET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from tests.standin.scenario_log import Scenario
    from tests.standin.storage_state import Stored

SAFE_KEY = re.compile(r"[\w/!\-.*'()&$@=;:+,? ]+", re.ASCII)
OWNER = "service_role"
# The real one's own setting.
UPLOAD_SECONDS = 2 * 60 * 60


class Json(JSONResponse):
    """As the real one writes it."""

    media_type = "application/json; charset=utf-8"


def make_storage(storage_state: StorageState, *, jwt_secret: str = JWT_SECRET) -> Starlette:
    """The service over `storage_state`, to be mounted at `/storage/v1`."""
    return Starlette(routes=_Storage(storage_state, jwt_secret).routes())


class _Storage:
    def __init__(self, storage_state: StorageState, jwt_secret: str) -> None:
        self._state = storage_state
        self._jwt_secret = jwt_secret
        self._looked: dict[str, int] = {}

    def routes(self) -> list[Route]:
        def route(path: str, method: str, act: Callable[[Request], Awaitable[Response]], named: str = "") -> Route:
            return Route(path, partial(self._serve, act, named), methods=[method])

        an_object = "/{bucket}/{name:path}"
        return [
            route("/bucket", "POST", self._make_bucket),
            route("/bucket", "GET", self._list_buckets),
            route("/bucket/{bucket}", "GET", self._get_bucket, "bucket"),
            route("/bucket/{bucket}", "PUT", self._change_bucket),
            route("/bucket/{bucket}", "DELETE", self._delete_bucket),
            route("/bucket/{bucket}/empty", "POST", self._empty_bucket),
            route("/object/list/{bucket}", "POST", self._list, "list"),
            route(f"/object/upload/sign{an_object}", "POST", self._sign_upload, "sign_upload"),
            route(f"/object/upload/sign{an_object}", "PUT", self._upload_signed, "put_signed"),
            route(f"/object/sign{an_object}", "POST", self._sign, "sign"),
            route(f"/object/sign{an_object}", "GET", self._get_signed, "public"),
            route(f"/object/public{an_object}", "GET", self._get_public, "public"),
            route(f"/object/info{an_object}", "GET", self._info, "info"),
            route(f"/object{an_object}", "POST", self._upload, "put"),
            route(f"/object{an_object}", "GET", self._download, "get"),
            route("/object/{bucket}", "DELETE", self._remove, "remove"),
            route(f"/cdn{an_object}", "DELETE", self._purge, "cdn"),
            route("/cdn/{bucket}", "DELETE", self._purge, "cdn"),
        ]

    async def _serve(self, act: Callable[[Request], Awaitable[Response]], named: str, request: Request) -> Response:
        """Count, do wrong what was told, else act."""
        self._state.asked[named] += 1
        scenario = self._state.scenario_log.next_scenario(named)
        await request.body()
        if scenario.is_("drop"):
            return answers.drop(request)
        if scenario.is_("says"):
            refused = Refused(scenario.value, "as told")
            return Json(refused.body, refused.status)
        if (instead := _instead(scenario)) is not None:
            return instead
        if scenario.is_("slow"):
            await asyncio.sleep(float(scenario.value))
        try:
            if scenario.is_("meet"):
                request.state.meet = int(scenario.value)
            answer = await act(request)
        except Refused as refused:
            return Json(refused.body, refused.status)
        return await _spoil(scenario, request, answer)

    # --- buckets --------------------------------------------------------------------------------

    async def _make_bucket(self, request: Request) -> Response:
        self._as_owner(request)
        asked = await request.json()
        if asked["id"] in self._state.buckets:
            raise Refused("BucketAlreadyExists")
        self._state.buckets[asked["id"]] = Bucket(asked["id"])
        self._state.buckets[asked["id"]].change(asked)
        return Json({"name": asked["id"]})

    async def _change_bucket(self, request: Request) -> Response:
        self._as_owner(request)
        self._bucket(request).change(await request.json())
        return Json({"message": "Successfully updated"})

    async def _list_buckets(self, request: Request) -> Response:
        is_owner = self._role(request) == OWNER
        return Json([bucket.row() for bucket in self._state.buckets.values()] if is_owner else [])

    async def _get_bucket(self, request: Request) -> Response:
        if self._role(request) != OWNER:
            raise Refused("NoSuchBucket")
        return Json(self._bucket(request).row())

    async def _empty_bucket(self, request: Request) -> Response:
        self._as_owner(request)
        self._bucket(request).objects.clear()
        return Json({"message": "Empty bucket has been queued. Completion may take up to an hour."})

    async def _delete_bucket(self, request: Request) -> Response:
        self._as_owner(request)
        if self._bucket(request).objects:
            raise Refused("ResourceNotEmpty")
        del self._state.buckets[self._bucket(request).id]
        return Json({"message": "Successfully deleted"})

    # --- objects --------------------------------------------------------------------------------

    async def _upload(self, request: Request) -> Response:
        bucket, name = self._bucket(request), request.path_params["name"]
        if not SAFE_KEY.fullmatch(name):
            raise Refused("InvalidKey", name)
        stored = read_upload(name, request.headers, await request.body())
        role = self._role(request)  # a token that counts comes first; what its role may do comes after the type
        bucket.refuse_type(stored.media_type)
        if role != OWNER:
            raise Refused("AccessDenied", ROW_LEVEL_SECURITY)
        # Looked at before the bytes are there and not again: two at the same time both find nothing.
        if name in bucket.objects and request.headers.get("x-upsert") != "true":
            raise Refused("KeyAlreadyExists")
        await self._meet(name, getattr(request.state, "meet", 1))
        return _keep(bucket, stored)

    async def _meet(self, name: str, count: int) -> None:
        """Go on once `count` uploads have looked at this name."""
        self._looked[name] = self._looked.get(name, 0) + 1
        while count > 1 and self._looked[name] < count:
            await asyncio.sleep(0.005)

    async def _download(self, request: Request) -> Response:
        bucket = self._bucket(request)
        # Of a public bucket no token is looked at. Without one that counts, a private bucket is not there.
        if not bucket.public and self._role(request, or_else="NoSuchBucket") != OWNER:
            raise Refused("NoSuchKey")
        return asset(request, self._state.object(bucket.id, request.path_params["name"]))

    async def _get_public(self, request: Request) -> Response:
        if not self._bucket(request).public:
            raise Refused("NoSuchBucket")
        return asset(request, self._state.object(request.path_params["bucket"], request.path_params["name"]))

    async def _info(self, request: Request) -> Response:
        stored = self._visible(request)
        headers = {name: stored.headers()[name] for name in ("etag", "last-modified", "cache-control")}
        return Json(stored.info(request.path_params["bucket"]), headers=headers)

    async def _list(self, request: Request) -> Response:
        asked = await request.json()
        if self._role(request) != OWNER:
            return Json([])
        page = asked.get("prefix", ""), asked.get("limit", 100), asked.get("offset", 0)
        bucket = self._state.buckets.get(request.path_params["bucket"])
        return Json(bucket.list(*page) if bucket is not None else [])  # of a bucket that is not there: nothing

    async def _remove(self, request: Request) -> Response:
        role, bucket = self._role(request), self._state.buckets.get(request.path_params["bucket"])
        names = (await request.json())["prefixes"]
        if not names:
            raise Refused("InvalidRequest", "body/prefixes must NOT have fewer than 1 items")
        if role != OWNER or bucket is None:
            return Json([])
        removed = [bucket.objects.pop(name) for name in names if name in bucket.objects.keys() - self._state.immovable]
        more = {"bucket_id": bucket.id, "owner": "", "owner_id": "", "user_metadata": {}}
        return Json([each.row() | more | {"version": each.version} for each in removed])

    async def _sign(self, request: Request) -> Response:
        stored = self._visible(request)
        bucket, seconds = request.path_params["bucket"], int((await request.json())["expiresIn"])
        token = self._make_token(f"{bucket}/{stored.name}", "download", seconds)
        return Json({"signedURL": f"/object/sign/{bucket}/{stored.name}?token={token}"})

    async def _get_signed(self, request: Request) -> Response:
        """An object for whoever has its address: no key is asked for, of a private bucket neither."""
        self._require_token(request, "download")
        return asset(request, self._state.object(request.path_params["bucket"], request.path_params["name"]))

    async def _sign_upload(self, request: Request) -> Response:
        bucket, name = self._bucket(request), request.path_params["name"]
        self._as_owner(request)
        if name in bucket.objects:
            raise Refused("KeyAlreadyExists")
        token = self._make_token(f"{bucket.id}/{name}", "upload", UPLOAD_SECONDS)
        return Json({"url": f"/object/upload/sign/{bucket.id}/{name}?token={token}"})

    async def _upload_signed(self, request: Request) -> Response:
        self._require_token(request, "upload")
        bucket = self._bucket(request)
        stored = read_upload(request.path_params["name"], request.headers, await request.body())
        bucket.refuse_type(stored.media_type)
        if stored.name in bucket.objects:
            raise Refused("KeyAlreadyExists")
        return _keep(bucket, stored)

    def _make_token(self, url: str, scope: str, seconds: int) -> str:
        """A JWT as the real one makes them, signed with the project's secret."""
        now = int(time())
        claims = {"url": url, "scope": scope, "iat": now, "exp": now + seconds}
        signed = ".".join(_base64(json.dumps(part, separators=(",", ":"))) for part in ({"alg": "HS256"}, claims))
        return f"{signed}.{_signature(signed, self._jwt_secret)}"

    def _require_token(self, request: Request, scope: str) -> None:
        """Refuse a token that is not for this object and this use, or whose time is over."""
        token = request.query_params.get("token", "")
        try:
            claims = _claims(token, self._jwt_secret)
        except ValueError as error:
            raise Refused("InvalidJWT", str(error)) from error
        url = "/".join((request.path_params["bucket"], request.path_params["name"]))
        if (claims.get("url"), claims.get("scope")) != (url, scope):
            raise Refused("InvalidSignature")

    async def _purge(self, request: Request) -> Response:
        if self._role(request) != OWNER:
            raise Refused("AccessDenied", "Access denied: invalid role")
        if not self._state.has_cdn:
            answer = {
                "error": "FeatureNotEnabled",
                "statusCode": "403",
                "message": "feature not enabled for this tenant",
            }
            return Json(answer, 403)
        self._state.purged.append("/".join(request.path_params.values()))
        return Json({"message": "success", "statusCode": "200"})

    # --- rights ---------------------------------------------------------------------------------

    def _role(self, request: Request, *, or_else: str | None = None) -> str:
        """The role of a token that counts; where none does, refuses in the words of most routes, or of `or_else`."""
        authorization = request.headers.get("authorization", "")
        try:
            return _role_of(authorization.removeprefix("Bearer "), self._jwt_secret)
        except ValueError as error:
            if or_else is not None:
                raise Refused(or_else) from error
            if not authorization:
                raise Refused("InvalidRequest", "headers must have required property 'authorization'") from error
            raise Refused("AccessDenied", str(error)) from error

    def _as_owner(self, request: Request) -> None:
        """Only who passes by row-level security writes: there is no policy for anybody else."""
        if self._role(request) != OWNER:
            raise Refused("AccessDenied", ROW_LEVEL_SECURITY)

    def _visible(self, request: Request) -> Stored:
        if self._role(request) != OWNER:
            raise Refused("NoSuchKey")
        return self._state.object(request.path_params["bucket"], request.path_params["name"])

    def _bucket(self, request: Request) -> Bucket:
        return self._state.bucket(request.path_params["bucket"])


def _keep(bucket: Bucket, stored: Stored) -> Response:
    if bucket.file_size_limit is not None and len(stored.body) > bucket.file_size_limit:
        raise Refused("EntityTooLarge")
    if (before := bucket.objects.get(stored.name)) is not None:
        stored.id, stored.created_at = before.id, before.created_at
    bucket.objects[stored.name] = stored
    return Json({"Key": f"{bucket.id}/{stored.name}", "Id": stored.id})


def _role_of(token: str, secret: str) -> str:
    """The role a token names; raises ValueError where it is not signed with `secret`, or has expired."""
    return str(_claims(token, secret).get("role", "anon"))


def _claims(token: str, secret: str) -> dict[str, Any]:
    """What a JWT says; raises ValueError where it is not signed with `secret`, or has expired."""
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(_signature(signed, secret).encode(), signature.encode()):
        raise ValueError("Invalid Compact JWS")
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
    if claims.get("exp", math.inf) <= time():
        raise ValueError('"exp" claim timestamp check failed')
    return claims


def _signature(signed: str, secret: str) -> str:
    return _base64(hmac.digest(secret.encode(), signed.encode(), "sha256"))


def _base64(text: str | bytes) -> str:
    return base64.urlsafe_b64encode(text.encode() if isinstance(text, str) else text).rstrip(b"=").decode()


# --- what goes wrong -------------------------------------------------------------------------------


def _instead(scenario: Scenario) -> Response | None:
    """What something in between answers by itself."""
    if scenario.name.startswith("http_") and scenario.name[5:].isdecimal():
        return HTMLResponse(answers.NGINX.format(scenario.name[5:]), int(scenario.name[5:]))
    return answers.gateway(scenario)


async def _spoil(scenario: Scenario, request: Request, answer: Response) -> Response:
    """The answer to what was done, late, broken off, drop by drop, or not at all."""
    match scenario.name:
        case "lost":
            return answers.drop(request)
        case "late":
            await asyncio.sleep(float(scenario.value))
        case "trickle":
            return answers.trickle(bytes(answer.body), answer.headers["content-type"])
        case "truncated":
            return _Truncated(answer)
    return answer


class _Truncated(Response):
    """Half of an answer; then the connection ends."""

    def __init__(self, whole: Response) -> None:
        super().__init__(whole.body, whole.status_code, dict(whole.headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})
        scope["standin.transport"].close()
        while (await receive())["type"] != "http.disconnect":
            pass
