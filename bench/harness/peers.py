"""Other servers of the same bytes: nginx, Varnish and thumbor, where they are installed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import time
import urllib.request
import venv
from typing import TYPE_CHECKING

from PIL import Image

from bench.harness.processes import Server, asgi, free_port, started, uvicorn, wait_until_answering

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.harness.figures import Run

Headers = list[tuple[str, str]]

INSTALL_SECONDS = 240
KEPT_SECONDS = 10.0
# Of one connection or moment; nginx makes its own validator, by which it answers 304.
OWN = frozenset({"connection", "date", "server", "content-length", "content-type", "etag", "last-modified", "age"})
NGINX = """
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    open_file_cache max=100;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    types {{ image/jpeg jpg; }}
    server {{
        listen 127.0.0.1:{port};
        root {root};
{headers}
    }}
}}
"""
VARNISH = """
vcl 4.1;
backend origin {{ .host = "127.0.0.1"; .port = "{port}"; }}
sub vcl_backend_response {{ set beresp.ttl = 1h; }}
"""
THUMBOR = """
LOADER = "thumbor.loaders.file_loader"
FILE_LOADER_ROOT_PATH = {root!r}
STORAGE = "thumbor.storages.no_storage"
RESULT_STORAGE = "thumbor.result_storages.file_storage"
RESULT_STORAGE_FILE_STORAGE_ROOT_PATH = {results!r}
RESULT_STORAGE_STORES_UNSAFE = True
RESULT_STORAGE_EXPIRATION_SECONDS = 0
ALLOW_UNSAFE_URL = True
MAX_AGE = 3600
"""


def headers_of(url: str) -> Headers:
    """The headers that a server sends with a picture, without those of its connection."""
    with urllib.request.urlopen(url) as answer:
        answer.read()
        return [(name, value) for name, value in answer.headers.items() if name.lower() not in OWN - {"etag"}]


def etag_of(url: str) -> str:
    """The validator that a server sends."""
    with urllib.request.urlopen(url) as answer:
        answer.read()
        return str(answer.headers["ETag"])


@contextlib.contextmanager
def raw(
    folder: Path, body: Path, headers: Headers, *, log: str, status: int = 200, app: str = "raw_app"
) -> Iterator[Server]:
    """An ASGI callable that answers these bytes with these headers, under the server that we have, set as we set it."""
    port = free_port()
    sent = folder / f"{log}.headers"
    sent.write_text(json.dumps(headers))
    settings = {"BENCH_HEADERS": str(sent), "BENCH_STATUS": str(status)}
    with asgi(uvicorn(app, port, has_date=True), folder, body, port=port, log=log, **settings) as server:
        yield server


@contextlib.contextmanager
def nginx(folder: Path, path: str, body: Path, headers: Headers) -> Iterator[Server]:
    """nginx with one worker, from a file, with these headers but its own validator; no access log."""
    root, port = folder / "root", free_port()
    root.mkdir(parents=True)
    shutil.copy(body, root / path.lstrip("/"))
    config = folder / "nginx.conf"
    quoted = ((name, value.replace("\\", "\\\\").replace('"', '\\"')) for name, value in headers)
    lines = [f'        add_header {name} "{value}";' for name, value in quoted if name.lower() not in OWN]
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(NGINX.format(user=user, folder=folder, port=port, root=root, headers="\n".join(lines)))
    with started(["nginx", "-c", str(config)], {}, folder, log="nginx") as process:
        wait_until_answering(port)
        yield Server(address=f"http://127.0.0.1:{port}", pid=process.pid)


@contextlib.contextmanager
def varnish(folder: Path, origin: Server) -> Iterator[Server]:
    """Varnish with its defaults, in memory, in front of another server."""
    folder.mkdir(parents=True)
    config, port = folder / "bench.vcl", free_port()
    config.write_text(VARNISH.format(port=origin.address.rpartition(":")[2]))
    where = ["-a", f"127.0.0.1:{port}", "-f", str(config), "-n", str(folder / "work"), "-s", "malloc,64m"]
    with started(["varnishd", "-F", "-j", "none", *where], {}, folder, log="varnish") as process:
        wait_until_answering(port)
        yield Server(address=f"http://127.0.0.1:{port}", pid=process.pid)


@contextlib.contextmanager
def thumbor(environment: Path, folder: Path, path: str, body: Path) -> Iterator[Server]:
    """thumbor with one process, from its result storage on disk; it sends headers of its own."""
    root, results, port = folder / "root", folder / "results", free_port()
    for each in (root, results):
        each.mkdir(parents=True)
    small = io.BytesIO()
    Image.new("RGB", (64, 64)).save(small, "JPEG")
    (root / path.lstrip("/")).write_bytes(small.getvalue())
    config = folder / "thumbor.conf"
    config.write_text(THUMBOR.format(root=str(root), results=str(results)))
    command = [
        str(environment / "bin" / "thumbor"),
        "-i",
        "127.0.0.1",
        "-p",
        str(port),
        "-c",
        str(config),
        "-l",
        "error",
    ]
    with started(command, {}, folder, log="thumbor") as process:
        wait_until_answering(port)
        address = f"http://127.0.0.1:{port}/unsafe"
        urllib.request.urlopen(address + path).read()
        # What it made is kept behind its answer. It is replaced: from now on our bytes are the result that is kept.
        _kept_in(results).write_bytes(body.read_bytes())
        yield Server(address=address, pid=process.pid)


def _kept_in(results: Path) -> Path:
    """The file that is moved there in the end; one that is being written has a suffix."""
    give_up_at = time.monotonic() + KEPT_SECONDS
    while time.monotonic() < give_up_at:
        if found := [each for each in results.rglob("*") if each.is_file() and not each.suffix]:
            return found[0]
        time.sleep(0.02)
    raise TimeoutError("thumbor keeps no result")


def is_installed(command: str) -> bool:
    """Whether that command can be run."""
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is not None


def install(run: Run, name: str, packages: Sequence[str]) -> Path | None:
    """These packages in an environment of their own, or None where they cannot be had."""
    run.say(f"installing {name}, which Copperplate does not depend on")
    folder = run.folder / name
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([*pip, *packages], check=True, timeout=INSTALL_SECONDS, capture_output=True)
    except (subprocess.SubprocessError, OSError) as error:
        run.say(f"{name}: NOT RUN: {type(error).__name__}")
        return None
    return folder
