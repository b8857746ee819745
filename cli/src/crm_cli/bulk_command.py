"""`crm bulk`: the same change to all records that a filter finds, after a look at what it would do."""

import json
import sys
from typing import Annotated, Any, NoReturn

import typer
from rich.markup import escape

from crm_cli.api import Api, ApiError
from crm_cli.runs import ERRORS, count, ended, progress_bar
from crmkit import contract

RECORDS_FAILED = 3
_ISSUES_SHOWN = 20

app = typer.Typer(
    no_args_is_help=True,
    help="Changes many records at once: update, delete, undelete; revert takes it back. Exit code: 0"
    " when every record was dealt with, 3 when some refused, 1 when it failed or was refused, 2 when the"
    " command line is wrong.",
)

Resource = Annotated[str, typer.Argument(help="The collection: accounts, products …")]
Filter = Annotated[
    str, typer.Option("--filter", help='Which records: industry = "retail" AND partner = true.')
]
Yes = Annotated[bool, typer.Option("--yes", help="Does not ask after the preview.")]


@app.command()
def update(
    resource: Resource,
    filter_text: Filter,
    fixed: Annotated[
        list[str],
        typer.Option("--set", metavar="FIELD=VALUE", help="industry=retail, custom_fields.tier=1."),
    ] = [],  # noqa: B006 - typer copies it
    cleared: Annotated[
        list[str], typer.Option("--clear", metavar="FIELD", help="Empties a field.")
    ] = [],  # noqa: B006
    *,
    yes: Yes = False,
) -> None:
    """Gives records new values. A VALUE that is JSON is taken as such: true, 12, {"units": "5"}."""
    values: dict[str, Any] = {}
    for text in fixed:
        field, given, value = text.partition("=")
        if not given:
            _wrong(f"--set {text}: write FIELD=VALUE")
        _place(values, field, _value(value))
    for field in cleared:
        _place(values, field, None)
    _run(resource, {"action": "UPDATE", "filter": filter_text, "values": values}, yes=yes)


@app.command()
def delete(resource: Resource, filter_text: Filter, *, yes: Yes = False) -> None:
    """Moves records to the trash."""
    _run(resource, {"action": "DELETE", "filter": filter_text}, yes=yes)


@app.command()
def undelete(resource: Resource, filter_text: Filter, *, yes: Yes = False) -> None:
    """Restores records from the trash; the filter looks into it."""
    _run(resource, {"action": "UNDELETE", "filter": filter_text}, yes=yes)


@app.command()
def revert(
    resource: Resource,
    name: Annotated[str, typer.Argument(help="The bulk action: bulkActions/{uuid}.")],
) -> None:
    """Gives the records of a bulk action their old values back, but for those changed since."""
    service = _service_of(resource)
    _follow(service, f"/v1/{service}/{name}:revert", {})


def _run(resource: str, action: dict[str, Any], *, yes: bool) -> None:
    service = _service_of(resource)
    path, body = f"/v1/{service}/bulkActions", {"resource": resource, **action}
    try:
        shown = Api().post(f"{path}?validate_only=true", body)
    except ApiError as error:
        raise _failed(error) from error
    ERRORS.print(f"{count(shown, 'total_rows'):,} {resource}: {action['action']}")
    for sample in shown.get("samples", []):
        if "issue" in sample:
            ERRORS.print(escape(f"  {sample['record']}: {sample['issue']['message']}"))
    if not yes:
        if not sys.stdin.isatty():
            _wrong("nobody can be asked here: say --yes")
        typer.confirm("Go on?", abort=True, err=True)
    _follow(service, path, body)


def _follow(service: str, path: str, body: dict[str, Any]) -> None:
    """Starts a bulk action, waits for its end and tells how it was."""
    api = Api()
    try:
        with progress_bar() as progress:
            run = ended(api, service, api.post(path, body), progress, "Changing")
        issues = api.get(f"/v1/{service}/{run['name']}/issues", page_size=_ISSUES_SHOWN)["issues"]
    except ApiError as error:
        raise _failed(error) from error
    failed = count(run, "failed_count")
    counts = f"{count(run, 'changed_count'):,} changed, {count(run, 'unchanged_count'):,} unchanged"
    print(f"{run['name']}: {run['state']}, {counts}, {failed:,} failed")
    for issue in issues:
        print(f"  {issue['record']} {issue['reason']} {issue['field']}: {issue['message']}")
    if run["state"] != "SUCCEEDED":
        ERRORS.print(escape(run.get("error_message", "")))
        raise typer.Exit(1)
    if failed:
        raise typer.Exit(RECORDS_FAILED)


def _service_of(resource: str) -> str:
    known = contract.collections().get(resource)
    if known is None or f"crm.{known.service}.v1.BulkActionService" not in contract.services():
        _wrong(f"RESOURCE: there are no bulk actions on {resource}")
    return known.service


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _place(values: dict[str, Any], field: str, value: Any) -> None:
    """Puts a value where its path says: a custom field, or a label, has a place inside."""
    head, _, part = field.partition(".")
    if part:
        values.setdefault(head, {})[part] = value
    else:
        values[head] = value


def _failed(error: ApiError) -> typer.Exit:
    ERRORS.print(f"crm bulk: {escape(str(error))}")
    return typer.Exit(1)


def _wrong(problem: str) -> NoReturn:
    ERRORS.print(f"crm bulk: {escape(problem)}")
    raise typer.Exit(2)
