"""Which headers of a request count, and which of them reach a service.

A gRPC library refuses a call whose metadata it dislikes (odd names, broken base64, a wrong
`grpc-timeout`), and what it has refused may stay in the compression table of the HTTP/2 connection,
which all callers share. So services get an allow-list of names, and values with a syntax are checked.
"""

import re
from collections.abc import Iterable
from typing import Any

SUBJECT_HEADER = "x-sub"
# Envoy's transcoder sets it; services know REST callers by it.
ORIGINAL_PATH = "x-envoy-original-path"
# The gateway itself speaks to the services under these names; clients cannot.
_OURS = "x-crm-"

# What services read, and what the gRPC protocol needs. Everything else ends at the gateway.
_FORWARDED = (
    "accept-language",
    "authorization",
    "content-length",
    "content-type",
    "cookie",
    "grpc-encoding",
    "grpc-timeout",
    "idempotency-key",
    "if-match",
    "origin",
    "te",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-request-id",
    "x-source",
    ORIGINAL_PATH,
)
# Header → what its value must look like.
_SYNTAX = {
    "grpc-timeout": "[0-9]{1,8}[HMSmun]",
    "grpc-encoding": "identity|gzip|deflate",
    "x-source": "[A-Za-z0-9][A-Za-z0-9_.-]{0,62}",
}

_MUTATION = "type.googleapis.com/envoy.extensions"


def strip_claims() -> dict[str, Any]:
    """Removes what only the gateway may say, before any filter runs.

    A route's `request_headers_to_remove` comes after the filters and would remove the header that
    jwt_authn has set.
    """
    mutations: list[dict[str, Any]] = [
        {"remove": name} for name in (SUBJECT_HEADER, "x-on-behalf-of")
    ]
    # Envoy obeys x-envoy-… from addresses it holds for internal: retries, time-outs, names of statistics.
    mutations += [
        {"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in (_OURS, "x-envoy-")
    ]
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": f"{_MUTATION}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": mutations,
        },
    }


def forward_known_only() -> dict[str, Any]:
    """The filter of a service's cluster that lets only the known headers through."""
    others = none_of(_FORWARDED, prefixes=(":", _OURS))
    # The query, which may be long, is in the message already.
    short_path = {"key": ORIGINAL_PATH, "value": "%PATH(NQ:ORIG)%"}
    mutations = [
        {"remove_on_match": {"key_matcher": {"safe_regex": {"regex": others}}}},
        {"append": {"header": short_path, "append_action": "OVERWRITE_IF_EXISTS"}},
        {
            "append": {
                "header": {"key": "te", "value": "trailers"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        },
    ]
    return {
        "name": "envoy.filters.http.header_mutation",
        "typed_config": {
            "@type": f"{_MUTATION}.filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {"request_mutations": mutations},
        },
    }


def malformed() -> list[tuple[str, dict[str, Any]]]:
    """Headers with a syntax, each with a matcher for values that break it."""
    return [
        (
            name,
            {
                "name": name,
                "string_match": {"safe_regex": {"regex": syntax}},
                "invert_match": True,
            },
        )
        for name, syntax in _SYNTAX.items()
    ]


def none_of(words: Iterable[str], *, prefixes: Iterable[str] = ()) -> str:
    """A regular expression for every name but `words` and those that begin with one of `prefixes`.

    RE2 has no negative look-ahead, and Envoy's string matchers no inversion.
    """
    heads = tuple(prefixes)
    return _none_of({word for word in words if not word.startswith(heads)}, set(heads))


def _none_of(words: set[str], prefixes: set[str]) -> str:
    starts = sorted({text[0] for text in words | prefixes if text})
    branches = [] if "" in words else [""]
    if starts:
        branches.append(f"[^{''.join(re.escape(start) for start in starts)}].*")
    else:
        branches.append(".+")
    for start in starts:
        if start not in prefixes:
            rest = [
                {text[1:] for text in texts if text[:1] == start} for texts in (words, prefixes)
            ]
            branches.append(re.escape(start) + _none_of(*rest))
    return f"(?:{'|'.join(branches)})"
