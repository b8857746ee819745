"""`crm import`: fills a collection from a file."""

import json
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from crm_cli.api import Api, ApiError
from crm_cli.import_mapping import BadOptionError, mappings, taken
from crm_cli.runs import ERRORS, count, ended, progress_bar, upload
from crmkit import contract

ROWS_FAILED = 3
_CHUNK_BYTES = 256 * 1024
_ISSUES_SHOWN = 20
_ERROR_COLUMN = "import_error"  # in a file of rejected rows


class Duplicates(StrEnum):
    """What to do with a row that describes a record we have."""

    SKIP = "skip"
    UPDATE = "update"
    CREATE = "create"
    FAIL = "fail"


def import_file(
    resource: Annotated[str, typer.Argument(help="The collection to fill: accounts, products …")],
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="CSV or XLSX, with a header; or vCards."),
    ],
    columns: Annotated[
        list[str], typer.Option("--map", metavar="COLUMN=FIELD", help="A column fills a field.")
    ] = [],  # noqa: B006 - typer copies it
    fixed: Annotated[
        list[str], typer.Option("--set", metavar="FIELD=VALUE", help="A field is the same in all.")
    ] = [],  # noqa: B006
    values: Annotated[
        list[str],
        typer.Option("--value", metavar="COLUMN:FROM=TO", help="Replaces a value of a column."),
    ] = [],  # noqa: B006
    lookups: Annotated[
        list[str],
        typer.Option(
            "--lookup",
            metavar="COLUMN=RESOURCE.FIELD",
            help="A column names records by a field: account=accounts.display_name.",
        ),
    ] = [],  # noqa: B006
    on_duplicate: Annotated[
        Duplicates, typer.Option(help="What to do with records that are there already.")
    ] = Duplicates.SKIP,
    sheet: Annotated[
        str, typer.Option(help="The sheet of a workbook; the first that is not hidden if not said.")
    ] = "",
    encoding: Annotated[
        str, typer.Option(help="Of CSV that is not UTF-8: windows-1252, gb18030 …")
    ] = "",
    source: Annotated[
        str,
        typer.Option(help="The system that the file comes from: the organisation may rank them."),
    ] = "",
    errors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where rows that failed are written, to be mended and imported."
        ),
    ] = None,
    *,
    proposals: Annotated[
        bool,
        typer.Option(help="Whether columns are taken by what other systems call them, where sure."),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Checks every row and changes nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Prints the outcome as JSON.")] = False,
) -> None:
    """Imports a file into a collection and shows how it goes.

    A column whose header is a field's name, or surely means one, needs no --map; what is taken is
    said. A column may be mapped to several fields. Parts of fields: amount.currency_code,
    emails.address, phones[1].number (the second), labels.KEY, lines.product.
    References are resource names or external ids, unless --lookup says otherwise; they may name
    rows of the same file.
    Where --value or --lookup name a field instead of a column, they hold for that field alone.
    The file of --errors has the columns of FILE and one with what is wrong; that one is not imported.

    Finds the system by CRM_URL; signs in by CRM_API_KEY, or CRM_EMAIL and CRM_PASSWORD.

    Exit code: 0 when every row was dealt with, 3 when some rows failed, 1 when the import failed or
    was refused, 2 when the command line is wrong.
    """
    try:
        service = _service_of(resource)
        wanted = mappings(columns, fixed, values, lookups)
        _refuse_to_overwrite(file, errors)
    except BadOptionError as error:
        ERRORS.print(f"crm import: {escape(str(error))}")
        raise typer.Exit(2) from error
    try:
        body = {
            "resource": resource,
            "mappings": wanted,
            "duplicate_policy": on_duplicate.name,
            "validate_only": dry_run,
            "sheet": sheet,
            "encoding": encoding,
            "source": source,
        }
        outcome = _run(Api(), service, file, body, errors, proposals=proposals)
    except (ApiError, OSError) as error:
        ERRORS.print(f"crm import: {escape(str(error))}")
        raise typer.Exit(1) from error
    if as_json:
        print(json.dumps(outcome, ensure_ascii=False, indent=2))
    else:
        _tell(outcome)
    if outcome["state"] != "SUCCEEDED":
        raise typer.Exit(1)
    if count(outcome, "failed_count"):
        raise typer.Exit(ROWS_FAILED)


def _refuse_to_overwrite(file: Path, errors: Path | None) -> None:
    if errors is not None and errors.resolve() == file.resolve():
        msg = "--errors names the file itself; name another"
        raise BadOptionError(msg)


def _service_of(resource: str) -> str:
    with_imports = {s.split(".")[1] for s in contract.services() if s.endswith(".ImportService")}
    found = {
        r.collection: r.service
        for r in contract.collections().values()
        if r.service in with_imports
    }
    if resource not in found:
        msg = f"RESOURCE: there is no {resource}; there are {', '.join(sorted(found))}"
        raise BadOptionError(msg)
    return found[resource]


def _run(
    api: Api,
    service: str,
    file: Path,
    wanted: dict[str, Any],
    errors: Path | None,
    *,
    proposals: bool,
) -> dict[str, Any]:
    """Sends the file up, starts the import, waits for its end; answers it with its first issues.

    Raises:
        ApiError: The system refuses or cannot be reached.
        OSError: A file cannot be read or written.
    """
    with progress_bar() as progress:
        sent = upload(api, service, _chunks(file), file.stat().st_size, progress)
        wanted["upload"] = sent["name"]
        if proposals:
            wanted["mappings"] += _proposed(api, service, wanted)
        started = time.monotonic()
        begun = api.post(f"/v1/{service}/imports", wanted)
        run: dict[str, Any] = ended(api, service, begun, progress, "Importing")
        run["seconds"] = round(time.monotonic() - started, 3)
    path = f"/v1/{service}/{run['name']}"
    run["issues"] = api.get(f"{path}/issues", page_size=_ISSUES_SHOWN).get("issues", [])
    if errors is not None and count(run, "failed_count"):
        with errors.open("wb") as rejected:
            for chunk in api.download(f"{path}:downloadRejectedRows"):
                rejected.write(chunk)
        run["errors_file"] = str(errors)
    return run


def _proposed(api: Api, service: str, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """The mappings that the system is sure of; says which they are, and what it leaves out."""
    asked = {name: wanted[name] for name in ("resource", "upload", "sheet", "encoding")}
    columns = api.post(f"/v1/{service}/imports:proposeMappings", asked).get("columns", [])
    sure = taken(wanted["mappings"], columns)
    for column in sure:
        if column["reason"] != "FIELD_NAME" or column["mapping"].get("lookup"):
            lookup = column["mapping"].get("lookup", "")
            found = f", found by {lookup}" if lookup else ""
            ERRORS.print(escape(f"taken: {column['column']} → {column['mapping']['field']}{found}"))
    said = {m.get("column", m["field"]) for m in wanted["mappings"]} | {c["column"] for c in sure}
    for column in columns:
        if column["column"] not in said and column["column"] != _ERROR_COLUMN:
            field = column.get("mapping", {}).get("field", "")
            perhaps = f" Perhaps --map '{column['column']}={field}'." if field else ""
            ERRORS.print(escape(f"left out: {column['column']}: {column['message']}{perhaps}"))
    return [m for column in sure for m in (column["mapping"], *column.get("also", []))]


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            yield chunk


def _tell(run: dict[str, Any]) -> None:
    if run["state"] != "SUCCEEDED":
        print(f"{run['state']}: {run.get('error_message', '')}")
    kinds = ("created", "updated", "skipped", "failed", "warning")
    counts = ", ".join(f"{count(run, f'{kind}_count'):,} {kind}" for kind in kinds)
    rows = count(run, "processed_rows")
    print(f"{run['resource']}: {rows:,} rows in {run['seconds']} s: {counts}")
    for issue in run["issues"]:
        field = f" {issue['field']}" if issue.get("field") else ""
        severity = issue["severity"].lower()
        print(f"  line {issue['row']}{field}: {severity} {issue['reason']}: {issue['message']}")
    if "errors_file" in run:
        print(f"  the rows that failed are in {run['errors_file']}")
    if run.get("validate_only"):
        print("  nothing was changed: this was a dry run")
    more = count(run, "failed_count") + count(run, "warning_count") - len(run["issues"])
    if more > 0 and len(run["issues"]) == _ISSUES_SHOWN:
        print(f"  … and more: GET {run['name']}/issues")
