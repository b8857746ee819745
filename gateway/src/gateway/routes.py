"""The table of REST rules, read from the `google.api.http` options of the contracts.

A package `crm.<service>.v1` belongs to `<service>`. Methods without an HTTP rule are internal and
have no place here; nor has `crm.common.v1`, whose services every service implements for its peers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2

from crm.options.v1 import options_pb2
from gateway.descriptors import descriptor_set

_PACKAGE = re.compile(r"crm\.(?!common\.)(?P<service>[a-z]+)\.v1")
_VARIABLE = re.compile(r"\{([^}=]+)(?:=([^}]*))?\}")
_HTTP_BODY = ".google.api.HttpBody"


@dataclass(frozen=True)
class Rule:
    """One way to call one method over REST.

    Attributes:
        service: the service that answers, `customer`.
        grpc_service: `crm.customer.v1.AccountService`.
        method: `GetAccount`.
        verb: `GET`, in capitals.
        template: `/v1/{name=accounts/*}`.
        body: the request field that the HTTP body fills, `*` for the whole request, empty for none.
        input_type: full name of the request message.
        output_type: full name of the response message.
        client_streaming: the request comes in pieces (an upload).
        server_streaming: the answer comes in pieces (server-sent events).
        raw_body: the body is bytes (`google.api.HttpBody`), not JSON.
        access: who may call, a name of `crm.options.v1.Access`.
        permission: what the caller must hold where access is PERMISSION.
    """

    service: str
    grpc_service: str
    method: str
    verb: str
    template: str
    body: str
    input_type: str
    output_type: str
    client_streaming: bool
    server_streaming: bool
    raw_body: bool
    access: str
    permission: str

    @property
    def grpc_path(self) -> str:
        """The path of the method in gRPC, `/crm.customer.v1.AccountService/GetAccount`."""
        return f"/{self.grpc_service}/{self.method}"

    @cached_property
    def pattern(self) -> str:
        """A regular expression (RE2 and Python) that matches exactly this rule's paths."""
        literal_from = 0
        parts: list[str] = []
        for variable in _VARIABLE.finditer(self.template):
            parts.append(re.escape(self.template[literal_from : variable.start()]))
            segments = (variable[2] or "*").split("/")
            parts.append("/".join(_segment(segment) for segment in segments))
            literal_from = variable.end()
        parts.append(re.escape(self.template[literal_from:]))
        return "".join(parts)

    @cached_property
    def variables(self) -> dict[str, str]:
        """The request fields that the path fills, each with its shape: `name` → `accounts/*`."""
        return {match[1]: match[2] or "*" for match in _VARIABLE.finditer(self.template)}

    @property
    def collection(self) -> str:
        """First word after the version: `accounts`."""
        return _collection(_VARIABLE.sub(lambda match: match[2] or "*", self.template))

    @property
    def is_public(self) -> bool:
        """True if callers need no access token."""
        return self.access in ("PUBLIC", "TOKEN")

    @property
    def has_json_body(self) -> bool:
        """True if the HTTP body is JSON that fills the request or one of its fields."""
        return bool(self.body) and not self.raw_body


class RouteTable:
    """All rules, with a fast way from a request to its rule."""

    def __init__(self, rules: list[Rule]) -> None:
        """Indexes `rules`."""
        self.rules = rules
        self._by_start: dict[tuple[str, str], list[tuple[re.Pattern[str], Rule]]] = {}
        for rule in rules:
            entry = (re.compile(rule.pattern), rule)
            self._by_start.setdefault((rule.verb, rule.collection), []).append(entry)

    def find(self, verb: str, path: str) -> Rule | None:
        """The rule that answers `verb` on `path` (without a query string), or None."""
        for pattern, rule in self._by_start.get((verb, _collection(path)), ()):
            if pattern.fullmatch(path):
                return rule
        return None

    def of(self, service: str) -> list[Rule]:
        """The rules that `service` answers."""
        return [rule for rule in self.rules if rule.service == service]

    @property
    def services(self) -> list[str]:
        """Names of the services that have rules, sorted."""
        return sorted({rule.service for rule in self.rules})

    @property
    def grpc_services(self) -> list[str]:
        """Full names of the routed gRPC services, sorted."""
        return sorted({rule.grpc_service for rule in self.rules})


@cache
def route_table() -> RouteTable:
    """The rules of the built contracts."""
    return RouteTable(list(_rules(descriptor_set())))


def _rules(files: descriptor_pb2.FileDescriptorSet) -> Iterator[Rule]:
    raw_fields = {
        (f".{file.package}.{message.name}", field.name)
        for file in files.file
        for message in file.message_type
        for field in message.field
        if field.type_name == _HTTP_BODY
    }
    for file in files.file:
        package = _PACKAGE.fullmatch(file.package)
        for service in file.service if package else ():
            for method in service.method:
                http = method.options.Extensions[annotations_pb2.http]
                for binding in (http, *http.additional_bindings):
                    if binding.WhichOneof("pattern"):
                        name = f"{file.package}.{service.name}"
                        yield _rule(name, method, binding, raw_fields)


def _rule(
    grpc_service: str,
    method: descriptor_pb2.MethodDescriptorProto,
    http: http_pb2.HttpRule,
    raw_fields: set[tuple[str, str]],
) -> Rule:
    pattern = http.WhichOneof("pattern")
    if pattern is None or pattern == "custom":
        message = f"{grpc_service}.{method.name}: custom HTTP verbs are not supported"
        raise ValueError(message)
    raw_request = http.body == "*" and method.input_type == _HTTP_BODY
    return Rule(
        service=grpc_service.split(".")[1],
        grpc_service=grpc_service,
        method=method.name,
        verb=pattern.upper(),
        template=getattr(http, pattern),
        body=http.body,
        input_type=method.input_type[1:],
        output_type=method.output_type[1:],
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        raw_body=raw_request or (method.input_type, http.body) in raw_fields,
        access=options_pb2.Access.Name(method.options.Extensions[options_pb2.access]),
        permission=method.options.Extensions[options_pb2.permission],
    )


def _segment(segment: str) -> str:
    if segment == "**":
        return "[^:]+"
    return "[^/:]+" if segment == "*" else re.escape(segment)


def _collection(path: str) -> str:
    return path.removeprefix("/v1/").split("/", 1)[0].split(":", 1)[0]
