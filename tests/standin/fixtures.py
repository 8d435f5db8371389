"""STAND-IN: fixtures. One server per test process, its scenario log cleared for every test."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.standin.server import Standin
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase


@pytest.fixture(scope="session")
def standin_server() -> Iterator[Standin]:
    from tests.standin.server import serve

    with serve() as standin:
        yield standin


@pytest.fixture
def standin(standin_server: Standin) -> Standin:
    """The stand-in over http."""
    standin_server.scenario_log.clear()
    return standin_server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority made for this run; beside it the certificate and the key of 127.0.0.1."""
    import trustme

    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(folder / "certificate.pem", append=number > 0)
    ssl.create_default_context(cafile=folder / "authority.pem")
    return folder


@pytest.fixture(scope="session")
def standin_tls_server(certificate: Path) -> Iterator[Standin]:
    from tests.standin.server import serve

    with serve(certificate=certificate / "certificate.pem", key=certificate / "key.pem") as standin:
        yield standin


@pytest.fixture
def standin_tls(standin_tls_server: Standin, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Standin:
    """The stand-in over loopback TLS, trusted by clients made from now on, in this process and its children."""
    standin_tls_server.scenario_log.clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "authority.pem"))
    return standin_tls_server


@pytest.fixture(scope="session")
def storage_server() -> Iterator[tuple[StorageState, Supabase]]:
    from tests.standin.storage import make_storage
    from tests.standin.storage_state import StorageState
    from tests.standin.supabase import Supabase

    storage_state = StorageState()
    # Nothing asks for the database here.
    with Supabase("http://127.0.0.1:9", storage=make_storage(storage_state)) as project:
        yield storage_state, project


@pytest.fixture
def storage_state(storage_server: tuple[StorageState, Supabase]) -> StorageState:
    """What the stand-in of Supabase Storage keeps: two empty buckets."""
    storage_server[0].clear()
    return storage_server[0]


@pytest.fixture
def storage(storage_state: StorageState, storage_server: tuple[StorageState, Supabase]) -> Supabase:
    """A Supabase project without a database: its address, its keys, and the Storage over `storage_state`."""
    storage_server[1].requests.clear()
    return storage_server[1]
