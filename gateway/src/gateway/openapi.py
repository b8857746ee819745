"""The REST API as an OpenAPI 3.1 document, made from the contracts and their comments."""

import re
from collections.abc import Iterator
from typing import Any

from google.api import resource_pb2
from google.protobuf import descriptor_pb2

from gateway.descriptors import descriptor_set
from gateway.openapi_schemas import Field, Schema, Schemas
from gateway.routes import Rule, route_table

_VARIABLE = re.compile(r"\{([^}=]+)(?:=([^}]*))?\}")
_STATUS = "google.rpc.Status"
_DETAILS = ("ErrorInfo", "BadRequest", "ResourceInfo", "PreconditionFailure", "RetryInfo")
_DESCRIPTION = (
    "Every error is a google.rpc.Status with an ErrorInfo whose `reason` names the cause. Names "
    "are snake_case, times RFC 3339 in UTC, 64-bit integers strings. Send `Authorization: Bearer` "
    "with an access token (`POST /v1/sessions`) or an API key (`crm_…`)."
)


def openapi_document(public_url: str) -> dict[str, Any]:
    """The document, as JSON values; `public_url` is named as the server."""
    return _Document(descriptor_set()).build(public_url)


class _Document:
    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        self._schemas = Schemas(files)
        self._words = _resource_words(files)

    def build(self, public_url: str) -> dict[str, Any]:
        paths: dict[str, dict[str, Any]] = {}
        for rule in route_table().rules:
            path, names = self._path(rule.template)
            paths.setdefault(path, {})[rule.verb.lower()] = self._operation(rule, names)
        status = self._schemas.reference(_STATUS)
        for detail in _DETAILS:
            self._schemas.reference(f"google.rpc.{detail}")
        error = {
            "description": "What went wrong; `details` hold at least an ErrorInfo.",
            "content": {"application/json": {"schema": status}},
        }
        return {
            "openapi": "3.1.1",
            "info": {"title": "CRM", "version": "v1", "description": _DESCRIPTION},
            "servers": [{"url": public_url}],
            "tags": self._tags(),
            "paths": paths,
            "components": {
                "schemas": dict(sorted(self._schemas.components.items())),
                "responses": {"Error": error},
                "parameters": _HEADERS,
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            },
            "security": [{"bearer": []}],
        }

    def _tags(self) -> list[dict[str, str]]:
        return [
            {"name": _tag(name), "description": self._schemas.comment(name)}
            for name in route_table().grpc_services
        ]

    def _operation(self, rule: Rule, path_names: list[str]) -> dict[str, Any]:
        text = self._schemas.comment(rule.grpc_service, rule.method)
        operation: dict[str, Any] = {
            "operationId": _operation_id(rule),
            "tags": [_tag(rule.grpc_service)],
            "summary": re.split(r"(?<=\.)\s", text, maxsplit=1)[0],
            "description": text,
            "parameters": [*map(_path_parameter, path_names), *self._parameters(rule)],
            "responses": {
                "200": self._answer(rule),
                "default": {"$ref": "#/components/responses/Error"},
            },
        }
        if rule.body:
            operation["requestBody"] = self._body(rule)
        if rule.is_public:
            operation["security"] = []
        if rule.permission:
            operation["x-permission"] = rule.permission
        operation["x-access"] = rule.access
        return operation

    def _path(self, template: str) -> tuple[str, list[str]]:
        names: list[str] = []

        def replace(variable: re.Match[str]) -> str:
            pattern = variable[2] or "*"
            words = self._words.get(pattern) or _singulars(pattern, variable[1])
            names.extend(words)
            found = iter(words)
            return re.sub(r"\*+", lambda _: "{" + next(found) + "}", pattern)

        return _VARIABLE.sub(replace, template), names

    def _body(self, rule: Rule) -> Schema:
        if rule.raw_body:
            content = "application/octet-stream"
            schema: Schema = {"type": "string", "format": "binary"}
        elif rule.body == "*":
            content = "application/json"
            bound = frozenset(rule.variables)
            schema = self._schemas.object(rule.input_type, request=True, without=bound)
        else:
            content = "application/json"
            schema = self._field_body(rule)
        required = rule.body != "*" or bool(schema.get("required"))
        return {"required": required, "content": {content: {"schema": schema}}}

    def _field_body(self, rule: Rule) -> Schema:
        fields = self._schemas.messages[rule.input_type].field
        name = next(field.type_name[1:] for field in fields if field.name == rule.body)
        if rule.verb == "PATCH":
            return self._schemas.object(name, request=True, partial=True)
        return self._schemas.reference(name, request=True)

    def _answer(self, rule: Rule) -> dict[str, Any]:
        text, content = "Done.", "application/json"
        schema = self._schemas.reference(rule.output_type)
        if (
            rule.output_type == "google.api.HttpBody"
        ):  # bytes of whatever type the file or picture has
            content, schema = "*/*", {"type": "string", "format": "binary"}
        elif rule.server_streaming:
            text, content = "One JSON message in each `data:` line.", "text/event-stream"
        return {"description": text, "content": {content: {"schema": schema}}}

    def _parameters(self, rule: Rule) -> Iterator[dict[str, Any]]:
        fields = {field.name for field in self._schemas.messages[rule.input_type].field}
        if rule.body != "*":
            bound = {*rule.variables, rule.body}
            yield from self._query(rule.input_type, bound, "")
        if "request_id" in fields:
            yield {"$ref": "#/components/parameters/IdempotencyKey"}
        if "etag" in fields or rule.verb == "PATCH":
            yield {"$ref": "#/components/parameters/IfMatch"}

    def _query(self, message: str, bound: set[str], prefix: str) -> Iterator[dict[str, Any]]:
        for field in self._schemas.messages[message].field:
            name = prefix + field.name
            if name in bound:
                continue
            nested = self._schemas.messages.get(field.type_name[1:])
            if field.type == Field.TYPE_MESSAGE and not _is_scalar(field):
                if nested is not None and field.label != Field.LABEL_REPEATED:
                    yield from self._query(field.type_name[1:], bound, f"{name}.")
                continue
            schema = self._schemas.property(message, field)
            text = schema.pop("description", "")
            yield {"name": name, "in": "query", "description": text, "schema": schema}


def _is_scalar(field: Field) -> bool:
    return field.type_name in (
        ".google.protobuf.Timestamp",
        ".google.protobuf.Duration",
        ".google.protobuf.FieldMask",
    )


def _resource_words(files: descriptor_pb2.FileDescriptorSet) -> dict[str, list[str]]:
    """From the shape of a resource name to its words: `quotes/*/lineItems/*` → quote, line_item."""
    words: dict[str, list[str]] = {}
    for file in files.file:
        for message in file.message_type:
            for pattern in message.options.Extensions[resource_pb2.resource].pattern:
                names = re.findall(r"\{(\w+)\}", pattern)
                words.setdefault(re.sub(r"\{\w+\}", "*", pattern), names)
    return words


def _singulars(pattern: str, variable: str) -> list[str]:
    segments = pattern.split("/")
    words = [variable.rpartition(".")[2]]
    words += [_singular(segment) for segment in segments]
    return [words[index] for index, segment in enumerate(segments) if segment.startswith("*")]


def _singular(segment: str) -> str:
    snake = re.sub(r"(?<=[a-z])[A-Z]", lambda letter: f"_{letter[0]}", segment).lower()
    return re.sub(r"(?<!s)s$", "", re.sub(r"ies$", "y", snake))


def _operation_id(rule: Rule) -> str:
    name = f"{rule.service}_{rule.method}"
    # What every kind of record has goes by the kind, so that a new kind renames nothing.
    of_records = rule.input_type.startswith("crm.common.v1.") and rule.collection != rule.service
    return f"{name}_{rule.collection}" if of_records else name


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _tag(grpc_service: str) -> str:
    _, service, _, name = grpc_service.split(".")
    return f"{service}.{name}"


def _header(name: str, text: str, limit: int) -> dict[str, Any]:
    schema = {"type": "string", "maxLength": limit}
    return {"name": name, "in": "header", "description": text, "schema": schema}


_HEADERS = {
    "IdempotencyKey": _header(
        "Idempotency-Key", "Same as `request_id`: a repeat answers the first result.", 36
    ),
    "IfMatch": _header("If-Match", "Same as `etag`: refused if it is not the latest.", 66),
}
