"""Routes that refuse: what makes no sense ends here, at once and with a reason, before any filter."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from gateway.envoy_headers import malformed
from gateway.routes import Rule

# Percent-encoded bytes of a path must be UTF-8: a proto string can hold nothing else.
_TAIL = "%[89AB][0-9A-F]"
_UTF8_PATH = (
    "(?i)(?:[^%]|%[0-7][0-9A-F]"
    f"|%(?:C[2-9A-F]|D[0-9A-F]){_TAIL}"
    f"|%E[0-9A-F](?:{_TAIL}){{2}}"
    f"|%F[0-4](?:{_TAIL}){{3}})*"
)
# What HTTP/2 clients call a gRPC method by; a REST path begins with a version.
_GRPC_PATH = r"/(?:crm|grpc)\.[a-z0-9.]+\.[A-Za-z]+/[A-Za-z]+"
GRPC_CONTENT = {
    "name": "content-type",
    "string_match": {"safe_regex": {"regex": r"application/grpc(?:-web(?:-text)?)?(?:[+;].*)?"}},
}
# Longer than any file that may be sent (512 MB); the service counts exactly.
_TOO_LONG = "5[4-9][0-9]{7}|[6-9][0-9]{8}|[0-9]{10,}"

DISABLED = {
    "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
    "disabled": True,
}

Route = dict[str, Any]


def before_all(hosts: Iterable[str]) -> Iterator[Route]:
    """What no route may see: foreign host names, broken paths and headers."""
    yield _refuse({"prefix": "/"}, 421, "", _inverted(_known_host(hosts)))
    path = {"name": ":path", "string_match": {"safe_regex": {"regex": _UTF8_PATH}}}
    yield _refuse({"prefix": "/"}, 400, "The path is not UTF-8.", _inverted(path))
    for name, matcher in malformed():
        yield _refuse({"prefix": "/"}, 400, f"The header {name} is not valid.", matcher)
    encoding = {"name": "content-encoding", "string_match": {"exact": "identity"}}
    message = "The body must not be compressed."
    yield _refuse({"prefix": "/v1/"}, 415, message, _inverted(encoding))
    # Browsers ask for it everywhere.
    yield _refuse({"path": "/favicon.ico"}, 204, "")


def too_long(match: dict[str, Any]) -> Route:
    """A file that says it is too long, before any of it is read."""
    length = {"name": "content-length", "string_match": {"safe_regex": {"regex": _TOO_LONG}}}
    headers = [*match.get("headers", ()), length]
    return _refuse(match, 413, "", *headers)


def wrong_verb(rules: list[Rule]) -> Iterator[Route]:
    """Known paths with a verb that they do not take; comes after the routes of the right verbs."""
    verbs: dict[str, set[str]] = {}
    for rule in rules:
        verbs.setdefault(rule.pattern, set()).add(rule.verb)
    groups: dict[str, list[str]] = {}
    for pattern, allowed in verbs.items():
        groups.setdefault(", ".join(sorted(allowed)), []).append(pattern)
    for allow, patterns in sorted(groups.items()):
        yield _wrong_verb("|".join(sorted(patterns)), allow)


def after_all() -> Iterator[Route]:
    """GRPC methods called in another way, and whatever nobody answers."""
    post = {"name": ":method", "string_match": {"exact": "POST"}}
    path = {"safe_regex": {"regex": _GRPC_PATH}}
    message = "A gRPC method takes application/grpc or application/grpc-web."
    not_grpc = _inverted(GRPC_CONTENT) | {"treat_missing_header_as_empty": True}
    yield _refuse(path, 415, message, post, not_grpc)
    yield _wrong_verb(_GRPC_PATH, "POST", _inverted(post))
    yield {"match": {"prefix": "/"}, "direct_response": {"status": 404}}


def _known_host(hosts: Iterable[str]) -> dict[str, Any]:
    # A page of a stranger can make its own name lead here, but neither an address nor a name without a dot.
    names = [r"\[[0-9a-fA-F:.]+\]", r"[0-9.]+", r"[^.:\[\]]*", r"[^.:]+\.localhost"]
    names += [re.escape(host) for host in hosts]
    regex = f"(?i)(?:{'|'.join(names)})(?::[0-9]+)?"
    return {"name": ":authority", "string_match": {"safe_regex": {"regex": regex}}}


def _wrong_verb(regex: str, allow: str, *headers: dict[str, Any]) -> Route:
    route = _refuse({"safe_regex": {"regex": regex}}, 405, "", *headers)
    return route | {"response_headers_to_add": [{"header": {"key": "allow", "value": allow}}]}


def _refuse(match: dict[str, Any], status: int, text: str, *headers: dict[str, Any]) -> Route:
    answer: dict[str, Any] = {"status": status}
    if text:
        answer["body"] = {"inline_string": text}
    return {
        "match": match | {"headers": list(headers)},
        "direct_response": answer,
        # It would answer first, that there is no such method.
        "typed_per_filter_config": {"envoy.filters.http.grpc_json_transcoder": DISABLED},
    }


def _inverted(matcher: dict[str, Any]) -> dict[str, Any]:
    return matcher | {"invert_match": True}
