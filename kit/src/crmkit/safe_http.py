"""HTTP to addresses that people typed: never into our own network (server-side request forgery).

A host is resolved here, every address it has must be public, and the connection goes to an address that
was looked at: what the name says a moment later does not matter. Redirects are not followed, proxies of
the environment are not used, time and size of the answer are limited. Networks of an own site can be
allowed. Source: guarantees.md rows 42 and 43; OWASP SSRF prevention.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import SplitResult, urlsplit

import httpcore

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_CONNECT_SECONDS = 5.0
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_LONGEST_HOST = 253
# They carry IPv4 addresses of anyone's choosing, private ones too (is_global says true for some).
_TUNNELS = tuple(
    ipaddress.ip_network(n)
    for n in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "::ffff:0:0/96")
)
_INSIDE = ("localhost", ".localhost", ".local", ".internal", ".home.arpa")


class UnsafeUrlError(ValueError):
    """The address may not be called; the message tells a person why."""


class CallFailedError(Exception):
    """There was no answer; the message tells a person why, without what the network looks like."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: its status and the first bytes of its body."""

    status: int
    body: bytes


def is_public(address: Address, allowed: Iterable[Network] = ()) -> bool:
    """True if the address is one of the public internet, or of a network that was allowed."""
    if any(address.version == network.version and address in network for network in allowed):
        return True
    if any(address.version == n.version and address in n for n in _TUNNELS):
        return False
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not special


def check_url(url: str, allowed: Sequence[Network] = ()) -> SplitResult:
    """The parts of a URL that may be called; names are not resolved yet.

    Args:
        url: What a person typed.
        allowed: Networks that may be called although they are private, and without TLS.

    Raises:
        UnsafeUrlError: It is malformed, has credentials, is not https, or names an inner address.
    """
    if any(ord(c) <= 0x20 or ord(c) > 0x7E or c in '\\"<>^`{|}' for c in url):  # noqa: PLR2004 - ASCII
        msg = "only printable ASCII; write international names and paths encoded"
        raise UnsafeUrlError(msg)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        msg = "this is not a URL"
        raise UnsafeUrlError(msg) from None
    if parts.scheme != "https" and not (parts.scheme == "http" and allowed):
        msg = "must begin with https://"
        raise UnsafeUrlError(msg)
    if "@" in parts.netloc or parts.fragment or port == 0:
        msg = "must have no user name, no password, no fragment and no port 0"
        raise UnsafeUrlError(msg)
    _check_host(parts.hostname or "", allowed)
    return parts


def _check_host(host: str, allowed: Sequence[Network]) -> None:
    address = _literal(host)
    if address is not None:
        if not is_public(address, allowed):
            msg = "must not lead into a private network"
            raise UnsafeUrlError(msg)
        return
    labels = host.removesuffix(".").split(".")
    # What ends in a number is an IPv4 address to some resolvers: 127.1, 0x7f000001, 2130706433.
    numeric = re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1])
    if len(host) > _LONGEST_HOST or numeric or not all(_LABEL.fullmatch(part) for part in labels):
        msg = "has no valid host name"
        raise UnsafeUrlError(msg)
    if not allowed and (len(labels) == 1 or f".{'.'.join(labels)}".endswith(_INSIDE)):
        msg = "must not lead into a private network"
        raise UnsafeUrlError(msg)


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


async def _resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _VettedNetwork(httpcore.AsyncNetworkBackend):
    """Connects only to addresses that were looked at; TLS still asks for the host by its name."""

    def __init__(self, allowed: Sequence[Network], resolve: Resolve) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address of a host, if all of its addresses may be called."""
        try:
            found = [ipaddress.ip_address(a) for a in await self._resolve(host, port)]
        except (OSError, ValueError, UnicodeError):
            msg = "the host name cannot be resolved"
            raise httpcore.ConnectError(msg) from None
        if not found or not all(is_public(address, self._allowed) for address in found):
            msg = "the host name leads into a private network"
            raise UnsafeUrlError(msg)
        return await self._inner.connect_tcp(
            str(found[0]), port, timeout, local_address, socket_options
        )


class SafeHttp:
    """Calls what people typed."""

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        resolve: Resolve = _resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Takes the private networks that may be called; the rest is for tests."""
        self._allowed = tuple(allowed)
        self._network = _VettedNetwork(self._allowed, resolve)
        self._tls = tls

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        seconds: float,
        answer_bytes: int,
    ) -> Answer:
        """Posts, and reads so much of the answer; any status is an answer, also a redirect.

        Raises:
            UnsafeUrlError: The URL, or what its host resolves to now, may not be called.
            CallFailedError: No connection, no TLS, or no answer in time.
        """
        check_url(url, self._allowed)
        limits = dict.fromkeys(("connect", "read", "write", "pool"), min(seconds, _CONNECT_SECONDS))
        limits |= {"read": seconds}
        pool = httpcore.AsyncConnectionPool(
            network_backend=self._network, ssl_context=self._tls, max_connections=1
        )
        try:
            async with asyncio.timeout(seconds), pool:
                stream = pool.stream(
                    "POST", url, headers=list(headers.items()), content=body,
                    extensions={"timeout": limits},
                )  # fmt: skip
                async with stream as response:
                    return Answer(response.status, await _beginning(response, answer_bytes))
        except (TimeoutError, httpcore.TimeoutException):
            msg = "no answer in time"
            raise CallFailedError(msg) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            msg = _plain(error)
            raise CallFailedError(msg) from None


async def _beginning(response: httpcore.Response, count: int) -> bytes:
    read = b""
    async for chunk in response.aiter_stream():
        read += chunk
        if len(read) >= count:
            break
    return read[:count]


def _plain(error: Exception) -> str:
    """What went wrong, in words that tell nothing of hosts and ports."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "the TLS certificate or connection was refused"
        cause = cause.__cause__ or cause.__context__
    if "resolved" in str(error):
        return str(error)
    if isinstance(error, httpcore.ProtocolError):
        return "the answer was not HTTP"
    return "the connection failed"
