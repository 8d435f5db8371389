"""STAND-IN: Cloudflare Turnstile. `siteverify` as it is documented, and a widget that a test can press.

Tokens live 300 s and work once. The site keys and secrets that Cloudflare publishes for tests do what theirs do.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.standin.server import Protocol

if TYPE_CHECKING:
    from starlette.requests import Request

SITE_KEY: Final = "0x4AAAAAAA-stand-in-site-key"
SECRET: Final = "0x4AAAAAAA-stand-in-secret"
# Cloudflare's own, for tests.
PASSES: Final = "1x00000000000000000000AA"
SECRET_PASSES: Final = "1x0000000000000000000000000000000AA"
SECRET_FAILS: Final = "2x0000000000000000000000000000000AA"
SECRET_SPENT: Final = "3x0000000000000000000000000000000AA"
DUMMY_TOKEN: Final = "XXXX.DUMMY.TOKEN.XXXX"
LIFE_SECONDS: Final = 300.0
MAX_TOKEN_CHARS: Final = 2_048
WIDGET: Final = Path(__file__).with_name("turnstile_widget.js")
ANY_ORIGIN: Final = {"access-control-allow-origin": "*"}


@dataclass(slots=True)
class _Issued:
    at: float
    hostname: str
    action: str
    is_spent: bool = False


class Turnstile:
    """A running service: `siteverify_url`, and `solve` in place of a person before the widget.

    `seconds` is how far its clock is ahead. `is_careless` makes the widget hand out what nobody solved. `verified` has
    every form that was sent to siteverify. While `status` is set, siteverify answers that and nothing else.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.is_careless = False
        self.status: int | None = None
        self.verified: list[dict[str, str]] = []
        self._issued: dict[str, _Issued] = {}
        routes = [
            Route("/turnstile/v0/siteverify", self._verify, methods=["POST"]),
            Route("/stand-in/solve", self._solved, methods=["POST"]),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), host="127.0.0.1", port=0, http=Protocol, ws="none", log_level="error",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._listener = config.bind_socket()
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.siteverify_url = f"{self.url}/turnstile/v0/siteverify"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._listener.close()

    def solve(self, site_key: str = SITE_KEY, *, hostname: str = "127.0.0.1", action: str = "") -> str:
        """The token that a person gets who solves the challenge."""
        if site_key == PASSES:
            return DUMMY_TOKEN
        assert site_key == SITE_KEY
        token = f"0.{secrets.token_urlsafe(300)}"
        self._issued[token] = _Issued(self._now(), hostname, action)
        return token

    def widget(self) -> str:
        """`api.js`, whose widget asks this service for its tokens."""
        return WIDGET.read_text().replace("{{solve}}", f"{self.url}/stand-in/solve")

    def _now(self) -> float:
        return time.monotonic() + self.seconds

    async def _solved(self, request: Request) -> Response:
        asked = await _form(request)
        token = self.solve(asked["sitekey"], hostname=asked["hostname"], action=asked.get("action", ""))
        return JSONResponse({"token": "made up" if self.is_careless else token}, headers=ANY_ORIGIN)

    async def _verify(self, request: Request) -> Response:
        is_json = request.headers.get("content-type", "").startswith("application/json")
        sent: dict[str, Any] = await request.json() if is_json else await _form(request)
        self.verified.append({name: str(value) for name, value in sent.items()})
        if self.status is not None:
            return Response("an error", status_code=self.status)
        return JSONResponse(self._judge(str(sent.get("secret", "")), str(sent.get("response", ""))))

    def _judge(self, secret: str, token: str) -> dict[str, Any]:
        if not secret:
            return _refused("missing-input-secret")
        if not token:
            return _refused("missing-input-response")
        if secret == SECRET:
            return self._judge_issued(token)
        return _judge_by_test_secret(secret, token)

    def _judge_issued(self, token: str) -> dict[str, Any]:
        issued = self._issued.get(token)
        if len(token) > MAX_TOKEN_CHARS or issued is None:
            return _refused("invalid-input-response")
        if issued.is_spent or self._now() - issued.at > LIFE_SECONDS:
            return _refused("timeout-or-duplicate")
        issued.is_spent = True
        return _passed(issued.hostname, issued.action)


def _judge_by_test_secret(secret: str, token: str) -> dict[str, Any]:
    if secret == SECRET_PASSES and token == DUMMY_TOKEN:
        return _passed("example.com", "")
    if secret == SECRET_SPENT:
        return _refused("timeout-or-duplicate")
    return _refused("invalid-input-response" if secret in (SECRET_PASSES, SECRET_FAILS) else "invalid-input-secret")


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode()))


def _passed(hostname: str, action: str) -> dict[str, Any]:
    return {
        "success": True,
        "challenge_ts": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "hostname": hostname,
        "error-codes": [],
        "action": action,
        "cdata": "",
    }


def _refused(*codes: str) -> dict[str, Any]:
    return {"success": False, "error-codes": list(codes), "messages": []}
