"""INVARIANT: the examples of README.md and docs/api work as they stand, against a running system.

The curl examples are run by a shell with the variables that they name. grpcurl cannot be had from a
package registry: its examples are read, their method and fields are looked up by reflection, and the
same call is made.
"""

import asyncio
import json
import os
import re
import shlex
import shutil
import sys
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from tests.architecture.documents import ROOT, block, blocks

from .conftest import ADMIN, RunningSystem

_SECONDS = 30


async def run(crm: RunningSystem, *command: str) -> str:
    """Runs a program with the README's variables; answers what it printed."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CRM_")},
        "CRM_URL": crm.system.url,
        "CRM_EMAIL": ADMIN["email"],
        "CRM_PASSWORD": ADMIN["password"],
        "no_proxy": "*",
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), _SECONDS)
    assert process.returncode == 0, output.decode() + errors.decode()
    return output.decode()


def jsons(text: str) -> list[Any]:
    """The JSON values that follow one another in a text."""
    decoder, found, position = json.JSONDecoder(), [], 0
    while position < len(text):
        value, position = decoder.raw_decode(text, position)
        found.append(value)
        position += len(text[position:]) - len(text[position:].lstrip())
    return found


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@needs_curl
async def test_the_rest_example_of_the_readme_works(crm: RunningSystem) -> None:
    """It creates an account and finds it again."""
    output = await run(crm, "bash", "-euo", "pipefail", "-c", block("README.md", "rest"))
    created, found = jsons(output)
    assert created["display_name"] == "Acme"
    assert created["name"] in [account["name"] for account in found["accounts"]]


@needs_curl
async def test_the_rest_examples_of_the_api_page_work(crm: RunningSystem) -> None:
    """They create an account with a key for repeats, change it with its etag, and add a field to it.

    Then they change a selection with its etags, delete it and restore it; and change all that a filter finds.
    """
    page = "docs/api/rest.md"
    script = "".join(block(page, name) for name in ("sign-in", "records", "batch", "bulk"))
    output = await run(crm, "bash", "-euo", "pipefail", "-c", script)
    changed, attached, field, filled, batch, deleted, shown, ended, issues = jsons(output)
    assert (attached["file_name"], attached["content_type"]) == ("offer.txt", "text/plain")
    assert changed["industry"] == "software"
    assert changed["etag"] == '"2"'
    assert field["field_id"] == "region"
    assert filled["custom_fields"] == {"region": "EMEA"}
    assert [a["industry"] for a in batch["accounts"]] == ["retail"]
    assert "delete_time" in deleted["accounts"][0]
    assert shown["samples"][0]["changes"][0]["old_value"] == "retail"
    assert (ended["state"], ended["changed_count"]) == ("SUCCEEDED", shown["total_rows"])
    assert issues["issues"] == []


@pytest.mark.parametrize("page", ["docs/api/rest.md", "docs/api/grpc.md"])
async def test_the_python_examples_of_the_api_pages_work(crm: RunningSystem, page: str) -> None:
    """They are programs: nothing is missing."""
    await crm.admin.post("/v1/accounts", {"display_name": "Umbrella"})
    examples = [b.text for b in blocks(ROOT / page) if b.language == "python"]
    assert examples
    for example in examples:
        output = await run(crm, sys.executable, "-c", example)
        assert "accounts/" in output or page.endswith("rest.md")


GRPCURL = [("README.md", "grpcurl"), ("docs/api/grpc.md", "call")]


@pytest.mark.parametrize(("page", "name"), GRPCURL)
async def test_a_grpcurl_example_calls_a_method_that_answers(
    crm: RunningSystem, page: str, name: str
) -> None:
    """Reflection knows its method, its JSON fits the request, and the call succeeds."""
    call = grpcurl_call(block(page, name))
    token = crm.admin.http.headers["authorization"]
    assert call["headers"] == ["authorization: Bearer $token"]
    assert call["address"] == "${CRM_URL#http://}"
    address = crm.system.url.removeprefix("http://")
    await asyncio.to_thread(answer_by_reflection, address, call["method"], call["data"], token)


def grpcurl_call(text: str) -> dict[str, Any]:
    """The arguments of the one grpcurl command of a text."""
    program, *words = shlex.split(text.replace("\\\n", " "))
    assert program == "grpcurl"
    found: dict[str, Any] = {"headers": [], "data": "{}"}
    rest = []
    while words:
        word = words.pop(0)
        if word == "-H":
            found["headers"].append(words.pop(0))
        elif word == "-d":
            found["data"] = words.pop(0)
        elif word != "-plaintext":
            rest.append(word)
    found["address"], found["method"] = rest
    return found


def answer_by_reflection(address: str, method: str, data: str, authorization: str) -> Any:
    """Calls a method knowing only its name, as grpcurl does."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = descriptor_pool.DescriptorPool(database)
        service, name = re.fullmatch(r"([\w.]+)/(\w+)", method).groups()  # type: ignore[union-attr]
        descriptor = pool.FindServiceByName(service).FindMethodByName(name)
        request = json_format.Parse(
            data, message_factory.GetMessageClass(descriptor.input_type)(), descriptor_pool=pool
        )
        answer = message_factory.GetMessageClass(descriptor.output_type)
        call = channel.unary_unary(
            f"/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return call(request, metadata=(("authorization", authorization),), timeout=_SECONDS)
