"""Duplicates through the gateway: the example for a file of persons, and what people do with its pairs."""

import asyncio
import csv
import os
import subprocess
from pathlib import Path
from random import Random
from uuid import uuid4

from .conftest import ADMIN, RunningSystem

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "examples" / "import-people-and-find-duplicates.sh"
COLUMNS = [
    "external_id", "given_name", "surname", "street_number", "address_1", "address_2", "suburb", "postcode",
    "state", "date_of_birth",
]  # fmt: skip
_PARTS = [
    "bar",
    "chel",
    "dor",
    "fen",
    "gil",
    "hum",
    "jas",
    "kel",
    "lor",
    "mar",
    "nev",
    "pol",
    "ros",
    "tam",
]


def people(mark: str, random: Random) -> tuple[list[dict[str, str]], set[frozenset[str]]]:
    """A hundred made-up persons; every fifth is there twice, misspelt or with a field missing."""
    rows: list[dict[str, str]] = []
    true: set[frozenset[str]] = set()
    for number in range(100):
        family, given, street, town = ("".join(random.sample(_PARTS, 3)) for _ in range(4))
        values = [
            f"{mark}-{number}", given, family, str(random.randrange(1, 90)), f"{street} street", "", town,
            f"{random.randrange(1000, 9999)}", "nsw",
            f"19{random.randrange(40, 99)}0{random.randrange(1, 9)}1{number % 9}",
        ]  # fmt: skip
        person = dict(zip(COLUMNS, values, strict=True))
        rows.append(person)
        if number % 5 == 0:
            again = {
                **person,
                "external_id": f"{mark}-{number}-again",
                "surname": family[:2] + family[3:],
            }
            missing = random.choice(["given_name", "date_of_birth", "address_1", "postcode"])
            rows.append({**again, missing: ""})
            true.add(frozenset((person["external_id"], again["external_id"])))
    random.shuffle(rows)
    return rows, true


async def test_a_file_of_persons_is_imported_and_its_pairs_are_printed(
    crm: RunningSystem, tmp_path: Path
) -> None:
    """Every person entered twice is printed with its double and a score, and nobody else."""
    mark = str(uuid4())[:8]
    rows, true = people(mark, Random(5))
    file = tmp_path / "people.csv"
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    pairs = await _printed(crm, file)
    assert {frozenset(pair[:2]) for pair in pairs} == true
    assert all(0.7 <= float(pair[2]) <= 1 for pair in pairs)

    # Somebody says that two are not the same, and runs the example again.
    first, second, _ = pairs[0]
    found = await crm.admin.get("/v1/contacts", filter=f'external_id = "{first}"')
    (contact,) = found["contacts"]
    sets = await crm.admin.get("/v1/duplicateSets", filter=f'members:"{contact["name"]}"')
    (one,) = sets["duplicate_sets"]
    assert one["pairs"][0]["reasons"][0]["description"]
    await crm.admin.post(f"/v1/{one['name']}:dismiss", {"etag": one["etag"]})
    search = await crm.admin.post("/v1/duplicateSets:search", {"record": contact["name"]})
    assert search["matches"][0]["duplicate"]
    again = await _printed(crm, file)
    assert {frozenset(pair[:2]) for pair in again} == true - {frozenset((first, second))}


async def _printed(crm: RunningSystem, file: Path) -> list[list[str]]:
    environment = {
        **os.environ,
        "CRM_URL": crm.system.url,
        "CRM_EMAIL": ADMIN["email"],
        "CRM_PASSWORD": ADMIN["password"],
        "no_proxy": "*",
    }
    process = await asyncio.create_subprocess_exec(
        str(SCRIPT), str(file), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return list(csv.reader(output.decode().splitlines()))
