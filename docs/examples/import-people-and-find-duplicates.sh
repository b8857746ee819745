#!/bin/sh
# Imports a CSV of persons as contacts, scans for duplicates, and prints a line `external_id_a,external_id_b,score`
# for each pair that the system calls a duplicate; what else happens is told on standard error.
#
#   CRM_URL=http://127.0.0.1:8080 CRM_EMAIL=… CRM_PASSWORD=… docs/examples/import-people-and-find-duplicates.sh FILE
#
# Without these it is the system that `make up` has made here, and its administrator, as with `crm`.
#
# The columns: external_id, given_name, surname, street_number, address_1, address_2, suburb, postcode, state,
# date_of_birth (YYYYMMDD). May be run again: who is there already is skipped.
set -eu

if [ $# -ne 1 ] || [ ! -f "$1" ]; then
  echo "usage: $0 FILE   (a CSV of persons)" >&2
  exit 2
fi
PATH="$(dirname "$0")/../../.venv/bin:$PATH"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# House number and street are one line of an address; several are separated by `;`. A day is written 1980-05-17; who has no name is shown as a dash.
python - "$1" "$work/contacts.csv" <<'PYTHON'
import csv
import sys

with open(sys.argv[1], encoding="utf-8-sig", newline="") as file:
    people = [
        {key.strip(): (value or "").strip() for key, value in row.items() if key}
        for row in csv.DictReader(file)
    ]
columns = ["external_id", "given_name", "surname", "display_name", "lines", "suburb", "postcode",
           "state", "birthday"]
with open(sys.argv[2], "w", encoding="utf-8", newline="") as file:
    writer = csv.DictWriter(file, columns, extrasaction="ignore")
    writer.writeheader()
    for person in people:
        day = person["date_of_birth"]
        street = f"{person['street_number']} {person['address_1']}"
        writer.writerow({
            **person,
            "display_name": " ".join(filter(None, (person["given_name"], person["surname"]))) or "—",
            "lines": "; ".join(filter(None, (street.strip(), person["address_2"]))),
            "birthday": f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 and day.isdigit() else day,
        })
PYTHON

# A day that is none is left out, with a warning. 3 means that some rows were refused: the others are compared.
crm import contacts "$work/contacts.csv" --no-proposals \
  --map external_id=external_id --map given_name=given_name --map surname=family_name \
  --map display_name=display_name --map birthday=birthday --map lines=addresses.address_lines \
  --map suburb=addresses.locality --map postcode=addresses.postal_code --map state=addresses.administrative_area >&2 || [ $? -eq 3 ]

python - "$work/contacts.csv" <<'PYTHON'
import csv
import sys
import time

from crm_cli.api import Api, ApiError

crm = Api()


def pages(path, field, **query):
    answer = crm.get(path, page_size=1000, **query)
    yield from answer.get(field, [])
    while token := answer.get("next_page_token"):
        answer = crm.get(path, page_size=1000, page_token=token, **query)
        yield from answer.get(field, [])


def start_scan():
    try:
        return crm.post("/v1/duplicateScans", {"resource": "contacts"})
    except ApiError as error:
        if error.reason != "ALREADY_RUNNING":
            raise
    return crm.get("/v1/duplicateScans", page_size=1)["duplicate_scans"][0]


def ended(scan):
    while scan["state"] in {"QUEUED", "RUNNING"}:
        time.sleep(0.5)
        scan = crm.get(f"/v1/{scan['name']}")
    return scan


try:
    scan = ended(start_scan())
    print(f"{scan['name']}: {scan['state']}, {scan.get('processed_rows', 0)} contacts compared", file=sys.stderr)
    if scan["state"] != "SUCCEEDED":
        raise SystemExit(1)
    with open(sys.argv[1], encoding="utf-8", newline="") as file:
        in_file = {row["external_id"] for row in csv.DictReader(file)}
    people = pages("/v1/contacts", "contacts")
    known = {person["name"]: person["external_id"] for person in people if person.get("external_id") in in_file}
    for found in pages("/v1/duplicateSets", "duplicate_sets", filter='resource = "contacts" AND state = OPEN'):
        for pair in found["pairs"]:
            first, second = known.get(pair["first"]), known.get(pair["second"])
            if first and second:
                print(f"{first},{second},{pair['score']:.6f}")
except ApiError as error:
    raise SystemExit(str(error)) from error
PYTHON
