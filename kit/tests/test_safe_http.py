"""INVARIANT: what people type never reaches our own network, by literal, by name or by redirect.

Attack rows 42 and 43 of the plan. Broken by a check of the name instead of the address connected to.
"""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crmkit.safe_http import CallFailedError, SafeHttp, UnsafeUrlError, check_url, is_public

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def server(
    answer: bytes = OK, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server of raw bytes: its port, and what it was sent."""
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(h[15:]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")),
            0,
        )
        heard.append(head + await reader.readexactly(length))
        writer.write(answer)
        await writer.drain()
        writer.close()

    running = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    async with running:
        yield running.sockets[0].getsockname()[1], heard


def resolving(*answers: Sequence[str]) -> Callable[..., object]:
    """A resolver that gives one answer after the other, and the last for ever."""
    left = list(answers)

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


async def post(http: SafeHttp, url: str, **limits: float) -> tuple[int, bytes]:
    chosen = {"seconds": 5.0, "answer_bytes": 1024, **limits}
    answer = await http.post(url, b"{}", {"content-type": "application/json"}, **chosen)  # type: ignore[arg-type]
    return answer.status, answer.body


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://0177.0.0.1/", "https://0x7f000001/", "https://2130706433/",
        "https://127.1/", "https://127.000.000.001/", "https://[64:ff9b::7f00:1]/", "https://224.0.0.1/",
        "https://169.254.169.254/latest/meta-data", "https://[::ffff:127.0.0.1]/", "https://100.64.0.1/",
        "https://a@127.0.0.1/", "https://a:b@example.com/", "https://[::1]/", "https://[::]/",
        "https://0.0.0.0/", "https://10.0.0.1/", "https://192.168.1.1/", "https://172.16.0.1/",
        "https://[fe80::1]/", "https://[fd00::1]/", "https://[2002:7f00:1::]/", "https://255.255.255.255/",
        "https://[2001:0:7f00:1::1]/", "https://[::127.0.0.1]/", "https://localhost/", "https://localhost./",
        "https://db/", "https://x.internal/", "https://printer.local/", "http://example.com/",
        "file:///etc/passwd", "gopher://example.com/", "ftp://example.com/", "https:///path", "https://",
        "", "example.com", "https://exa mple.com/", "https://example.com\\@127.0.0.1/",
        "https://example.com/\r\nHost: x", "https://ex\u0000.com/", "https://\u2460.com/", "https://1.2.3.4.5/",
        "https://example.com:0/", "https://example.com:99999/", "https://example.com/#x", "https://-a.com/",
        "https://[::1%25eth0]/", "https://example.com@127.0.0.1/", "https://" + "a" * 300 + ".com/",
    ],
)  # fmt: skip
def test_an_inner_or_malformed_address_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(UnsafeUrlError):
        check_url(url)


@pytest.mark.parametrize(
    "url", ["https://example.com/hooks?x=1", "https://hooks.example.com:8443", "https://1.1.1.1/",
            "https://[2606:4700::1111]/"],
)  # fmt: skip
def test_a_public_address_is_taken(url: str) -> None:
    assert check_url(url).geturl() == url


@pytest.mark.parametrize(
    "bad", ["127.0.0.1", "10.1.2.3", "::1", "64:ff9b::1", "224.0.0.1", "fd00::1"]
)
async def test_a_name_that_leads_inside_is_not_called(bad: str) -> None:
    """One inner address among public ones is enough to refuse."""
    for answer in ([bad], ["93.184.216.34", bad]):
        http = SafeHttp(resolve=resolving(answer))  # type: ignore[arg-type]
        with pytest.raises(UnsafeUrlError):
            await post(http, "https://rebound.example.com/")


async def test_the_connection_goes_to_the_address_that_was_looked_at() -> None:
    """The name resolves to somewhere else a moment later: nobody asks it again."""
    async with server() as (port, heard):
        resolve = resolving(["127.0.0.1"], ["10.0.0.1"])
        http = SafeHttp(LOOPBACK, resolve=resolve)  # type: ignore[arg-type]
        assert await post(http, f"http://hook.example.com:{port}/x?y=1") == (200, b"ok")
        with pytest.raises(UnsafeUrlError):
            await post(http, f"http://hook.example.com:{port}/x")
    assert len(heard) == 1
    assert heard[0].startswith(b"POST /x?y=1 HTTP/1.1\r\n")
    assert f"host: hook.example.com:{port}".encode() in heard[0].lower()
    assert heard[0].endswith(b"{}")


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with server() as (inner, secret):
        moved = f"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:{inner}/\r\ncontent-length: 0\r\n\r\n"
        async with server(moved.encode()) as (port, _):
            assert await post(SafeHttp(LOOPBACK), f"http://127.0.0.1:{port}/") == (307, b"")
    assert secret == []


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server() as (proxy, heard):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        async with server() as (port, _):
            assert await post(SafeHttp(LOOPBACK), f"http://127.0.0.1:{port}/") == (200, b"ok")
    assert heard == []


async def test_only_the_beginning_of_an_answer_is_read() -> None:
    """A server may send for ever."""
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000
    async with server(endless) as (port, _):
        status, body = await post(
            SafeHttp(LOOPBACK), f"http://127.0.0.1:{port}/", answer_bytes=1024
        )
    assert (status, body) == (200, b"x" * 1024)


async def test_silence_ends_in_time_and_says_so() -> None:
    async with server(b"") as (port, _):
        pass
    with pytest.raises(CallFailedError, match="connection failed"):
        await post(SafeHttp(LOOPBACK), f"http://127.0.0.1:{port}/")

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        with pytest.raises(CallFailedError, match="in time"):
            await post(SafeHttp(LOOPBACK), f"http://127.0.0.1:{port}/", seconds=0.2)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"\x00\x01\x02", b""])
async def test_what_is_not_http_is_a_failure_that_shows_nothing_of_it(answer: bytes) -> None:
    """An inner server's banner must not come back to who typed the address."""
    async with server(answer) as (port, _):
        with pytest.raises(CallFailedError) as failed:
            await post(SafeHttp(LOOPBACK), f"http://127.0.0.1:{port}/")
    assert "SSH" not in str(failed.value)


@pytest.mark.parametrize("name", ["hook.example.com", "other.example.com"])
async def test_tls_is_checked_against_the_name_that_was_typed(name: str, tmp_path: Path) -> None:
    """The connection goes to an address; certificate and SNI are those of the host."""
    certificate, key = _certificate("hook.example.com", tmp_path)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate, key)
    asked: list[str] = []
    theirs.sni_callback = lambda _s, server_name, _c: asked.append(server_name)
    ours = ssl.create_default_context(cafile=str(certificate))
    async with server(tls=theirs) as (port, _):
        http = SafeHttp(LOOPBACK, resolve=resolving(["127.0.0.1"]), tls=ours)  # type: ignore[arg-type]
        if name == "hook.example.com":
            assert await post(http, f"https://{name}:{port}/") == (200, b"ok")
        else:
            with pytest.raises(CallFailedError, match="TLS"):
                await post(http, f"https://{name}:{port}/")
    assert asked == [name]


def _certificate(name: str, folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(1)
        .not_valid_before(today - dt.timedelta(days=1)).not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"


def test_an_allowed_network_is_called_though_it_is_private() -> None:
    """For an endpoint on premises, also without TLS and by a short name."""
    allowed = [ipaddress.ip_network("10.20.0.0/16")]
    assert check_url("http://10.20.0.5:8080/hook", allowed)
    assert check_url("http://erp/hook", allowed)
    assert not is_public(ipaddress.ip_address("10.21.0.1"), allowed)
    with pytest.raises(UnsafeUrlError):
        check_url("https://127.0.0.1/", allowed)
