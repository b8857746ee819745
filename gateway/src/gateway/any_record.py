"""Paths for any record: `/v1/{parent=*/*}/comments` stands for a path for each kind of its package.

As it stands it would match the records of other services too, so routes and transcoder get it spelled out:
`/v1/{parent=accounts/*}/comments` and so on. A new kind has what belongs to records without a line more.
"""

import re
from collections.abc import Iterator

from google.api import annotations_pb2, http_pb2, resource_pb2
from google.protobuf import descriptor_pb2

from crm.options.v1 import options_pb2

_ANY_RECORD = re.compile(r"(?<==)\*/\*")
_RECORD = re.compile(r"([a-zA-Z]+)/\{\w+\}")


def spell_out(files: descriptor_pb2.FileDescriptorSet) -> None:
    """Changes the HTTP rules in `files` that are for any record."""
    records = sorted(_records(files))
    for file in files.file:
        for service in file.service:
            only = service.options.Extensions[options_pb2.of_records]
            kinds = [
                collection
                for collection, package, scope in records
                if package == file.package and only in (options_pb2.SCOPE_UNSPECIFIED, scope)
            ]
            for method in service.method:
                http = method.options.Extensions[annotations_pb2.http]
                if _ANY_RECORD.search(_path(http)):
                    http.CopyFrom(_for_each(http, kinds))


def _records(files: descriptor_pb2.FileDescriptorSet) -> Iterator[tuple[str, str, int]]:
    """Collection, package and scope of each kind of record; children and singletons are none."""
    for file in files.file:
        for message in file.message_type:
            for pattern in message.options.Extensions[resource_pb2.resource].pattern:
                record = _RECORD.fullmatch(pattern)
                if record:
                    yield record[1], file.package, message.options.Extensions[options_pb2.scope]


def _for_each(http: http_pb2.HttpRule, collections: list[str]) -> http_pb2.HttpRule:
    verb = http.WhichOneof("pattern")
    assert verb is not None  # it has a path
    rules = []
    for collection in collections:
        path = _ANY_RECORD.sub(f"{collection}/*", _path(http))
        rules.append(http_pb2.HttpRule(body=http.body, **{verb: path}))
    merged = http_pb2.HttpRule()
    if rules:
        merged.CopyFrom(rules[0])
        merged.additional_bindings.extend(rules[1:])
    return merged


def _path(http: http_pb2.HttpRule) -> str:
    pattern = http.WhichOneof("pattern")
    path = getattr(http, pattern) if pattern else ""
    return path if isinstance(path, str) else ""
