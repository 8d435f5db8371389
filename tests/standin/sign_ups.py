"""STAND-IN: Supabase Auth, as far as strangers use it: anonymous sign-ups behind a captcha, and the keys of its tokens.

Paths, bodies and errors are those of `supabase/auth`: the captcha is asked of siteverify with a form, and of its answer
`success` alone counts. A user is a row of the real `auth.users`, written by Auth's own role.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import httpx
import psycopg
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.tokens import Tokens, ec_key, jwk

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

VERSION_HEADER: Final = "x-supabase-api-version"
ALLOWED_HEADERS: Final = ("authorization", "apikey", "content-type", "x-client-info", VERSION_HEADER)
SIGNING_KEY: Final = "sign-ups"
LIFE_SECONDS: Final = 3_600


class SignUps:
    """An application to be mounted at `/auth/v1` of the project at `project_url`, which is told once it is known.

    `admin_url` is the database's for somebody who may become `supabase_auth_admin`; `secret` is what the project has
    entered for Turnstile.
    """

    def __init__(self, admin_url: str, *, siteverify_url: str, secret: str) -> None:
        self.project_url = ""
        self._admin_url = admin_url
        self._siteverify_url = siteverify_url
        self._secret = secret
        app = Starlette(
            routes=[
                Route("/signup", self._sign_up, methods=["POST"]),
                Route("/.well-known/jwks.json", self._keys),
                Route("/logout", self._sign_out, methods=["POST"]),
            ]
        )
        app.add_middleware(
            CORSMiddleware,
            allow_origins=["*"],
            allow_methods=["*"],
            allow_headers=ALLOWED_HEADERS,
            expose_headers=[VERSION_HEADER],
        )
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def token_of(self, user: UUID, *, is_anonymous: bool = False) -> str:
        """An access token of somebody who is signed in."""
        method = "anonymous" if is_anonymous else "password"
        now = datetime.now(UTC)
        return Tokens(f"{self.project_url}/auth/v1", now).es(
            key=ec_key(SIGNING_KEY),
            header={"kid": SIGNING_KEY},
            sub=str(user),
            email="",
            app_metadata={},
            amr=[{"method": method, "timestamp": int(now.timestamp())}],
            session_id=str(uuid4()),
            is_anonymous=is_anonymous,
        )

    def users(self) -> list[UUID]:
        """Everybody who signed up."""
        with psycopg.connect(self._admin_url) as connection:
            return [row[0] for row in connection.execute("select id from auth.users order by created_at")]

    async def _keys(self, _request: Request) -> Response:
        return JSONResponse({"keys": [jwk(ec_key(SIGNING_KEY), SIGNING_KEY)]})

    async def _sign_out(self, _request: Request) -> Response:
        return Response(status_code=204)

    async def _sign_up(self, request: Request) -> Response:
        body = await request.json()
        token = str((body.get("gotrue_meta_security") or {}).get("captcha_token") or "").strip()
        address = request.client.host if request.client else ""
        try:
            codes = await self._judge(token, address)
        except (httpx.HTTPError, ValueError):
            return _refused(500, "unexpected_failure", "captcha verification process failed")
        if codes:
            return _refused(400, "captcha_failed", f"captcha protection: request disallowed ({', '.join(codes)})")
        if body.get("email") or body.get("phone"):
            return _refused(422, "signup_disabled", "Signups not allowed for this instance")
        user = uuid4()
        with psycopg.connect(self._admin_url, autocommit=True) as connection:
            connection.execute("set session authorization supabase_auth_admin")
            connection.execute("insert into auth.users (id, aud, role, is_anonymous) values (%s, %s, %s, true)",
                               [user, "authenticated", "authenticated"])  # fmt: skip
        return JSONResponse(self._session(user), headers={VERSION_HEADER: "2024-01-01"})

    async def _judge(self, token: str, address: str) -> list[str]:
        """Why the captcha is not solved; empty where it is. Raises what comes of a siteverify that does not answer."""
        if not token:
            return ["no captcha_token found in request"]
        form = {"secret": self._secret, "response": token, "remoteip": address}
        async with httpx.AsyncClient(timeout=10) as client:
            judged = (await client.post(self._siteverify_url, data=form)).json()
        return [] if judged["success"] is True else list(judged["error-codes"])

    def _session(self, user: UUID) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {
            "access_token": self.token_of(user, is_anonymous=True),
            "token_type": "bearer",
            "expires_in": LIFE_SECONDS,
            "expires_at": int(now.timestamp()) + LIFE_SECONDS,
            "refresh_token": uuid4().hex[:12],
            "user": {
                "id": str(user),
                "aud": "authenticated",
                "role": "authenticated",
                "email": "",
                "phone": "",
                "last_sign_in_at": now.isoformat(),
                "app_metadata": {},
                "user_metadata": {},
                "identities": [],
                "created_at": now.isoformat(),
                "updated_at": now.isoformat(),
                "is_anonymous": True,
            },
        }


def _refused(status: int, code: str, message: str) -> Response:
    return JSONResponse({"code": code, "message": message}, status_code=status, headers={VERSION_HEADER: "2024-01-01"})
