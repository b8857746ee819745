"""Errors: failures become statuses with `google.rpc.ErrorInfo`; nothing else leaves the process."""

import math
import re
from typing import Any, NoReturn

import grpc
import psycopg
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from psycopg import errors as pg

from crmkit.call import Call
from crmkit.errors import (
    Aborted,
    AlreadyExists,
    DeadlineExceeded,
    Failure,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)

_log = structlog.get_logger("crm.request")
# In what PostgreSQL says of a conflict: the definition, then a key that begins with the field's id.
_CUSTOM_FIELD_ID = re.compile(r"=\([0-9a-f-]{36}, ([a-z0-9_]+)=")
_DETAILS = "grpc-status-details-bin"


def failure_of(error: BaseException, singular: str = "") -> Failure | None:
    """The failure that an exception means; None if it is a defect of ours."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, TimeoutError):
        return DeadlineExceeded("The deadline passed; the change may have been stored.")
    if isinstance(error, psycopg.Error):
        return _database_failure(error, singular)
    return None


def _database_failure(  # noqa: PLR0911 - a table of errors, one return each
    error: psycopg.Error, singular: str
) -> Failure | None:
    if isinstance(error, pg.UniqueViolation):
        return _taken(error, singular)
    if isinstance(error, pg.ForeignKeyViolation) and (
        error.diag.constraint_name == "fk_custom_field_value_kind"
    ):
        return Aborted("A custom field was changed at the same time; repeat.", retry_after=1)
    if isinstance(error, pg.SerializationFailure | pg.DeadlockDetected | pg.LockNotAvailable):
        return Aborted("Somebody else is changing the same records; repeat.", retry_after=0.1)
    if isinstance(error, pg.QueryCanceled):
        return DeadlineExceeded("The database took too long.")
    if isinstance(error, pg.DiskFull | pg.OutOfMemory):
        return ResourceExhausted("The database is full.", reason="DATABASE_FULL")
    if isinstance(error, pg.NumericValueOutOfRange | pg.StringDataRightTruncation):
        return InvalidArgument("A value is too large to be stored.")
    if isinstance(error, psycopg.OperationalError | pg.OperatorIntervention):
        return Unavailable(
            "The database cannot be reached.", reason="DATABASE_UNAVAILABLE", retry_after=1
        )
    return None


def _taken(error: pg.UniqueViolation, singular: str) -> Failure:
    constraint = error.diag.constraint_name or ""
    table = error.diag.table_name or ""
    if constraint == "uq_custom_field_value_unique_key":
        key = _CUSTOM_FIELD_ID.search(error.diag.message_detail or "")
        path = f"{singular}.custom_fields.{key[1]}" if key else f"{singular}.custom_fields"
        return AlreadyExists(f"{path} is taken by another record.", field=path)
    if constraint.endswith("_pkey"):
        return AlreadyExists("There is such a record already.")
    field = constraint.removeprefix(f"uq_{table}_")
    path = f"{singular}.{field}" if singular else field
    return AlreadyExists(f"{path} is taken by another record.", field=path)


def status_details(failure: Failure, service: str, request_id: str) -> bytes:
    """A serialized google.rpc.Status: ErrorInfo always, BadRequest and RetryInfo where they apply."""
    status = status_pb2.Status(
        code=grpc.StatusCode[failure.status].value[0], message=failure.message
    )
    info = error_details_pb2.ErrorInfo(reason=failure.reason, domain=f"{service}.crm")
    info.metadata.update(failure.metadata)
    info.metadata["request_id"] = request_id
    details: list[object] = [info]
    if failure.violations:
        bad = error_details_pb2.BadRequest()
        for violation in failure.violations:
            bad.field_violations.add(field=violation.field, description=violation.description)
        details.append(bad)
    if failure.retry_after is not None:
        delay = duration_pb2.Duration(
            seconds=int(failure.retry_after), nanos=int(failure.retry_after % 1 * 1e9)
        )
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)  # type: ignore[arg-type]
        status.details.append(packed)
    serialized: bytes = status.SerializeToString()
    return serialized


async def abort(context: Any, failure: Failure, service: str, call: Call | None) -> NoReturn:
    """Ends the request with the failure's status."""
    request_id = call.correlation_id if call else ""
    details = status_details(failure, service, request_id)
    trailers: tuple[tuple[str, str | bytes], ...] = ((_DETAILS, details),)
    if failure.retry_after is not None:  # over REST the trailers of an error are headers
        trailers = (*trailers, ("retry-after", str(max(1, math.ceil(failure.retry_after)))))
    code = grpc.StatusCode[failure.status]
    await context.abort(code, failure.message, trailers)
    raise AssertionError  # abort does not return


def defect(error: BaseException, call: Call | None) -> Failure:
    """Logs a defect with its stack and answers what the caller may know of it."""
    _log.error(
        "unexpected error",
        method=call.method.path if call and call.method else "",
        request_id=call.correlation_id if call else "",
        exc_info=error,
    )
    return _Internal("Something went wrong on our side; the request id finds it in the log.")


class _Internal(Failure):
    status = "INTERNAL"
    default_reason = "INTERNAL"
