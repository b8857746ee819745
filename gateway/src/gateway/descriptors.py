"""The contracts' descriptors, as the gateway needs them.

Everything here is made from `crm.descriptor_set_path()`: routes, OpenAPI, reflection and the file
that Envoy's JSON transcoder reads.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

import crm
from gateway.any_record import spell_out

# Envoy renders an error's details as JSON only if it knows their types.
_ERROR_FILES = (status_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR)


@cache
def descriptor_set() -> descriptor_pb2.FileDescriptorSet:
    """Every contract with imports and comments, plus google.rpc.Status and its details.

    Paths for any record are spelled out. Read once; do not change the answer.
    """
    files = descriptor_pb2.FileDescriptorSet.FromString(crm.descriptor_set_path().read_bytes())
    present = {file.name for file in files.file}
    for descriptor in _ERROR_FILES:
        if descriptor.name not in present:
            descriptor.CopyToProto(files.file.add())
    spell_out(files)
    return files


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """A descriptor pool with exactly the files of `descriptor_set()`."""
    result = descriptor_pool.DescriptorPool()
    for file in descriptor_set().file:
        result.Add(file)
    return result


def write_descriptors(path: Path) -> None:
    """Writes the descriptor set for Envoy, without comments, to `path`."""
    files = descriptor_pb2.FileDescriptorSet()
    files.CopyFrom(descriptor_set())
    for file in files.file:
        file.ClearField("source_code_info")
    path.write_bytes(files.SerializeToString(deterministic=True))


# Where a comment stands (`SourceCodeInfo.Location.path`), whose it is, and the thing itself.
Place = tuple[tuple[int, ...], tuple[str, ...], Message]


def walk(file: descriptor_pb2.FileDescriptorProto) -> Iterator[Place]:
    """Everything in `file` that can have a comment.

    Messages, enums and services are named by their full name alone; fields, values and methods by
    the full name of what they belong to and their own.
    """
    for index, message in enumerate(file.message_type):
        yield from _walk_message((4, index), f"{file.package}.{message.name}", message)
    for index, enum in enumerate(file.enum_type):
        yield from _walk_enum((5, index), f"{file.package}.{enum.name}", enum)
    for index, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield (6, index), (name,), service
        for position, method in enumerate(service.method):
            yield (6, index, 2, position), (name, method.name), method


def _walk_message(
    path: tuple[int, ...], name: str, message: descriptor_pb2.DescriptorProto
) -> Iterator[Place]:
    yield path, (name,), message
    for index, field in enumerate(message.field):
        yield (*path, 2, index), (name, field.name), field
    for index, nested in enumerate(message.nested_type):
        yield from _walk_message((*path, 3, index), f"{name}.{nested.name}", nested)
    for index, enum in enumerate(message.enum_type):
        yield from _walk_enum((*path, 4, index), f"{name}.{enum.name}", enum)


def _walk_enum(
    path: tuple[int, ...], name: str, enum: descriptor_pb2.EnumDescriptorProto
) -> Iterator[Place]:
    yield path, (name,), enum
    for index, value in enumerate(enum.value):
        yield (*path, 2, index), (name, value.name), value
