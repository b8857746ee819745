"""The contracts' descriptors, as the gateway needs them.

Everything here is made from `crm.descriptor_set_path()`: routes, OpenAPI, reflection and the file that
Envoy's JSON transcoder reads.
"""

from functools import cache
from pathlib import Path

import crm
from google.protobuf import descriptor_pb2, descriptor_pool
from google.rpc import error_details_pb2, status_pb2

# Envoy renders an error's details as JSON only if it knows their types.
_ERROR_FILES = (status_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR)


@cache
def descriptor_set() -> descriptor_pb2.FileDescriptorSet:
    """Every contract with imports and comments, plus google.rpc.Status and its details.

    Read once; do not change the answer.
    """
    files = descriptor_pb2.FileDescriptorSet.FromString(crm.descriptor_set_path().read_bytes())
    present = {file.name for file in files.file}
    for descriptor in _ERROR_FILES:
        if descriptor.name not in present:
            descriptor.CopyToProto(files.file.add())
    return files


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """A descriptor pool with exactly the files of `descriptor_set()`."""
    result = descriptor_pool.DescriptorPool()
    for file in descriptor_set().file:
        result.Add(file)  # type: ignore[no-untyped-call]
    return result


def write_descriptors(path: Path) -> None:
    """Writes the descriptor set for Envoy, without comments, to `path`."""
    files = descriptor_pb2.FileDescriptorSet()
    files.CopyFrom(descriptor_set())
    for file in files.file:
        file.ClearField("source_code_info")
    path.write_bytes(files.SerializeToString(deterministic=True))
