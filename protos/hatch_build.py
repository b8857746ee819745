"""Compiles protos/crm into the package `crm`: messages, gRPC stubs, type stubs and the descriptor set.

Generated code is never committed. `crm/api.binpb` holds every descriptor with its comments; the gateway,
the OpenAPI document and the contract tests are made from it.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def write_validate_descriptor(path: Path) -> None:
    """Extracts buf/validate/validate.proto, which no wheel ships as text, from the protovalidate wheel."""
    import google.protobuf.duration_pb2
    import google.protobuf.field_mask_pb2
    import google.protobuf.timestamp_pb2
    from google.protobuf import descriptor_pb2
    from protovalidate._gen.buf.validate import validate_pb

    files = descriptor_pb2.FileDescriptorSet()
    for module in (
        descriptor_pb2,
        google.protobuf.duration_pb2,
        google.protobuf.timestamp_pb2,
        google.protobuf.field_mask_pb2,
    ):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.append(
        descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
    )
    path.write_bytes(files.SerializeToString())


class ProtoBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs protoc before the wheel (or the editable install) is assembled."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Generates `src/crm` and `src/buf` from the .proto files beside this one."""
        import google.api
        import grpc_tools

        root = Path(self.root)
        out = root / "src"
        (out / "crm").mkdir(parents=True, exist_ok=True)
        validate = out / "validate.binpb"
        write_validate_descriptor(validate)
        includes = [
            root,
            Path(grpc_tools.__file__).parent / "_proto",
            Path(next(iter(google.api.__path__))).parents[1],
        ]
        plugins = Path(sys.executable).parent
        sources = sorted(str(path) for path in (root / "crm").rglob("*.proto"))
        command = [sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={validate}"]
        # With --descriptor_set_in protoc still resolves sources and google/* through -I.
        compiled = subprocess.run(
            [
                *command,
                *[f"-I{include}" for include in includes],
                *[f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")],
                f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
                f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
                "--include_imports",
                "--include_source_info",
                f"--descriptor_set_out={out / 'crm' / 'api.binpb'}",
                *sources,
                "buf/validate/validate.proto",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        validate.unlink()
        if compiled.returncode != 0:
            # Without the command and the stack: what is wrong, and where.
            sys.exit(f"protoc refuses the contracts:\n{compiled.stderr}")
        for package in ("crm", "buf"):
            for directory in [out / package, *(out / package).rglob("*/")]:
                if directory.is_dir() and directory.name != "__pycache__":
                    (directory / "__init__.py").touch()
            (out / package / "py.typed").touch()
        (out / "crm" / "__init__.py").write_text(DESCRIPTORS_MODULE)
        build_data["artifacts"] += ["src/crm/**", "src/buf/**"]


DESCRIPTORS_MODULE = '''"""The CRM's contracts, generated from protos/."""

from pathlib import Path


def descriptor_set_path() -> Path:
    """Path of the FileDescriptorSet of every contract, with imports and comments."""
    return Path(__file__).parent / "api.binpb"
'''
