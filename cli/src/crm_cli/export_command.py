"""`crm export`: writes a collection to a file."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from crm_cli.api import Api, ApiError
from crm_cli.runs import ERRORS, count, ended, progress_bar
from crmkit import contract


class Format(StrEnum):
    """What kind of file to write."""

    CSV = "csv"
    XLSX = "xlsx"
    VCARD = "vcf"


def export_file(
    resource: Annotated[str, typer.Argument(help="The collection to write: accounts, products …")],
    output: Annotated[str, typer.Option("--output", "-o", help="The file; - for standard output.")],
    filter_text: Annotated[
        str, typer.Option("--filter", help="Which records: state = CUSTOMER AND partner = true.")
    ] = "",
    order_by: Annotated[
        str, typer.Option(help="In which order: display_name, create_time desc.")
    ] = "",
    fields: Annotated[
        str, typer.Option(help="The columns, divided by commas: display_name,labels.region,amount.")
    ] = "",
    file_format: Annotated[
        Format | None,
        typer.Option("--format", help="If not said: as the file's name ends, or CSV."),
    ] = None,
    *,
    byte_order_mark: Annotated[
        bool, typer.Option("--bom", help="Begin CSV with a byte order mark: Excel needs it.")
    ] = False,
) -> None:
    """Exports the records that you may list to a file, which imports again without a mapping.

    Finds the system by CRM_URL; signs in by CRM_API_KEY, or CRM_EMAIL and CRM_PASSWORD.

    Exit code: 0 when the file is complete, 1 when the export failed or was refused, 2 when the command
    line is wrong.
    """
    known = contract.collections().get(resource)
    if known is None or f"crm.{known.service}.v1.ExportService" not in contract.services():
        ERRORS.print(f"crm export: RESOURCE: there is no {escape(resource)} to export")
        raise typer.Exit(2)
    wanted = {
        "resource": resource,
        "filter": filter_text,
        "order_by": order_by,
        "fields": [field.strip() for field in fields.split(",") if field.strip()],
        "format": (file_format or _format_of(output)).name,
        "byte_order_mark": byte_order_mark,
    }
    try:
        run = _export(Api(), known.service, wanted, output)
    except (ApiError, OSError) as error:
        ERRORS.print(f"crm export: {escape(str(error))}")
        raise typer.Exit(1) from error
    size = count(run, "size_bytes")
    ERRORS.print(f"{resource}: {count(run, 'processed_rows'):,} rows, {size:,} bytes")


def _format_of(output: str) -> Format:
    ending = Path(output).suffix.lower().removeprefix(".")
    return Format(ending) if ending in {known.value for known in Format} else Format.CSV


def _export(api: Api, service: str, wanted: dict[str, Any], output: str) -> dict[str, Any]:
    """Runs an export and fetches its file; raises ApiError or OSError."""
    with progress_bar() as progress:
        started = api.post(f"/v1/{service}/exports", wanted)
        run: dict[str, Any] = ended(api, service, started, progress, "Exporting")
        if run["state"] != "SUCCEEDED":
            msg = f"{run['state']}: {run.get('error_message', '')}"
            raise ApiError(msg)
        task = progress.add_task("Fetching", total=count(run, "size_bytes"))
        chunks = api.download(f"/v1/{service}/{run['name']}:download")
        if output == "-":
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        else:
            with Path(output).open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                    progress.advance(task, len(chunk))
    return run
