"""INVARIANT: who follows the recipe gets what it promises.

Its files are written into a copy, its two lines are edited, and the tests that it names are run there.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from .documents import ROOT, blocks

_RECIPE = ROOT / "docs/add-a-resource.md"
_COPIED = ["protos", "services/sales", "tests/contract", "pyproject.toml"]
_TESTS = ["tests/contract", "services/sales/tests"]


def follow(folder: Path) -> None:
    """Steps 1 to 6 in a copy of the repository."""
    for name in _COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for block in blocks(_RECIPE):
        if "file" in block.attributes:
            (folder / block.attributes["file"]).write_text(block.text)
    imported, listed = [b.text for b in blocks(_RECIPE) if "edit" in b.attributes]
    service = folder / "services/sales/src/sales/service.py"
    declaration = re.sub(r"    collections=\[.*?\],\n", listed, service.read_text())
    service.write_text(declaration.replace("from sales.", f"{imported}from sales.", 1))


def compile_contract(folder: Path) -> None:
    """What `make setup` does, for the one contract that is new."""
    api, new = folder / "protos/src/crm/api.binpb", folder / "new.binpb"
    outputs = [f"--{kind}_out={folder}/protos/src" for kind in ("python", "grpc_python")]
    contract = "crm/sales/v1/competitor.proto"
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={api}"),
            *(f"-I{folder}/protos", *outputs, f"--descriptor_set_out={new}"),
            *("--include_source_info", contract),
        ],
        check=True,
    )
    files = descriptor_pb2.FileDescriptorSet.FromString(api.read_bytes())
    files.MergeFromString(new.read_bytes())
    api.write_bytes(files.SerializeToString())


def test_the_recipe_works(tmp_path: Path) -> None:
    """Its contract keeps the rules of contracts, and its own tests pass."""
    if (ROOT / "protos/crm/sales/v1/competitor.proto").exists():
        pytest.skip("somebody follows the recipe here")
    follow(tmp_path)
    compile_contract(tmp_path)
    paths = [tmp_path / "protos/src", tmp_path / "services/sales/src"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *_TESTS, "-vv", "-k", "competitor or Competitor"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    assert "test_a_competitor_is_created_listed_and_published" in run.stdout
    assert "test_what_can_be_deleted_can_be_purged[sales.crm/Competitor]" in run.stdout
