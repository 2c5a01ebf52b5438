"""Proxies, certificates and redirections: what is between this machine and a server."""

import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.models.failures import ModelError, TransientError
from supervisor.models.transport import Transport
from tests.models.file_server import Answer, FileServer

PATH = "/v1/file"


def body(url: str) -> bytes:
    transport = Transport(connect_timeout=20, read_timeout=20)
    try:
        with transport.get(url, {}) as reply:
            assert reply.status_code == 200
            return bytes(reply.raw.read())
    finally:
        transport.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost that signs itself, and its key, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make a certificate with")
    pem = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", pem,
         "-out", f"{pem}.crt", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True,
        capture_output=True,
        timeout=60,
    )  # fmt: skip
    pem.write_bytes(pem.read_bytes() + Path(f"{pem}.crt").read_bytes())
    return pem


@pytest.fixture
def secure(certificate: Path) -> Iterator[FileServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with FileServer(context) as running:
        running.serve({"file": b"over TLS"})
        yield running


def test_a_proxy_of_the_environment(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.serve({"file": b"through a proxy"})
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    assert body("http://models.invalid/v1/file") == b"through a proxy"
    assert [request.host for request in server.requests] == ["models.invalid"]


def test_no_proxy_is_heeded(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    server.serve({"file": b"straight"})
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "example.org,127.0.0.1")
    assert body(f"{server.url}{PATH}") == b"straight"


def test_a_proxy_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TransientError) as raised:
        body("http://models.invalid/v1/file")
    assert raised.value.why.startswith("the proxy cannot be used: connection refused")
    assert "HTTPS_PROXY" in raised.value.why
    assert not raised.value.reached


def test_a_tunnel_through_a_proxy(
    server: FileServer, secure: FileServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    monkeypatch.setenv("https_proxy", server.url)
    server.tunnel_to = ("127.0.0.1", secure.port)
    assert body(f"{secure.url}{PATH}") == b"over TLS"
    assert server.tunnels == [f"localhost:{secure.port}"]


def test_a_proxy_that_refuses(
    server: FileServer, secure: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", server.url)
    with pytest.raises(TransientError) as raised:
        body(f"{secure.url}{PATH}")
    assert "the proxy cannot be used: Tunnel connection failed: 403" in raised.value.why


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_certificates_of_the_system_and_of_the_environment(
    secure: FileServer, certificate: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, f"{certificate}.crt")
    assert body(f"{secure.url}{PATH}") == b"over TLS"


def test_a_certificate_that_nobody_vouches_for(secure: FileServer) -> None:
    with pytest.raises(ModelError) as raised:
        body(f"{secure.url}{PATH}")
    assert raised.value.message.startswith("the certificate of localhost is not trusted: self")
    assert "REQUESTS_CA_BUNDLE" in raised.value.hint


def test_a_bundle_that_is_not_there(secure: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(ModelError) as raised:
        body(f"{secure.url}{PATH}")
    assert "/nowhere/ca.pem" in raised.value.message
    assert "REQUESTS_CA_BUNDLE" in raised.value.hint


def test_https_is_never_left(
    server: FileServer, secure: FileServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    server.serve({"file": b"in the clear"})
    secure.tricks = [Answer(302, headers={"Location": f"{server.url}{PATH}"})]
    with pytest.raises(ModelError) as raised:
        body(f"{secure.url}{PATH}")
    assert f"leads from https to {server.url}{PATH}" in raised.value.message
    assert server.requests == []
    secure.tricks = [Answer(302, headers={"Location": PATH})]
    assert body(f"{secure.url}{PATH}") == b"over TLS"


def test_http_may_lead_to_https(
    server: FileServer, secure: FileServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    server.tricks = [Answer(301, headers={"Location": f"{secure.url}{PATH}"})]
    assert body(f"{server.url}{PATH}") == b"over TLS"
