"""STAND-IN: `python -m tests.standin --port N`."""

from __future__ import annotations

import argparse

import uvicorn

from tests.standin.scenario_log import ScenarioLog
from tests.standin.server import Protocol, make_app


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.standin", description="A stand-in for fal and OpenAI on loopback."
    )
    parser.add_argument("--port", type=int, default=8100)
    port = parser.parse_args().port
    print("A stand-in, not fal and not OpenAI. For the server that shall use it:")
    print(f"  FAL_KEY=stand-in COPPERPLATE_FAL_QUEUE_URL=http://127.0.0.1:{port}")
    print(f"  OPENAI_API_KEY=stand-in OPENAI_BASE_URL=http://127.0.0.1:{port}/v1 COPPERPLATE_PROVIDER=openai")
    print(f"What it was asked: http://127.0.0.1:{port}/control")
    uvicorn.run(make_app(ScenarioLog()), host="127.0.0.1", port=port, http=Protocol, ws="none", log_level="warning")


if __name__ == "__main__":
    main()
