"""Failures with a public name: what the domain raises and what clients see.

Every failure carries a `reason` in UPPER_SNAKE that clients may program against. One interceptor turns
failures into gRPC statuses with `google.rpc.ErrorInfo`; nothing else in the system knows status codes.
Source: AIP-193.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Violation:
    """What is wrong with one field: its proto path and a sentence for a person."""

    field: str
    description: str


class Failure(Exception):  # noqa: N818 - a failure is an outcome of the domain, not a programming error
    """An operation that was refused and changed nothing.

    Attributes:
        reason: UPPER_SNAKE name that clients may rely on.
        metadata: Further facts for programs: the state, the allowed methods …
        violations: The fields at fault, if any.
        retry_after: Seconds after which a repeat may succeed, if known.
    """

    status: ClassVar[str] = "UNKNOWN"
    default_reason: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        field: str | None = None,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations) or ((Violation(field, message),) if field else ())
        self.retry_after = retry_after


class InvalidArgument(Failure):
    """The request is wrong whatever the state of the system."""

    status = "INVALID_ARGUMENT"
    default_reason = "INVALID_FIELD"


class Unauthenticated(Failure):
    """Nobody is signed in, or the credential is not valid."""

    status = "UNAUTHENTICATED"
    default_reason = "UNAUTHENTICATED"


class PermissionDenied(Failure):
    """The caller may not do this, even to a record they may see."""

    status = "PERMISSION_DENIED"
    default_reason = "PERMISSION_DENIED"


class NotFound(Failure):
    """There is no such record, or none that the caller may see."""

    status = "NOT_FOUND"
    default_reason = "RECORD_NOT_FOUND"


class AlreadyExists(Failure):
    """A unique value is taken."""

    status = "ALREADY_EXISTS"
    default_reason = "ALREADY_EXISTS"


class FailedPrecondition(Failure):
    """The record's state does not allow it; another action must come first."""

    status = "FAILED_PRECONDITION"
    default_reason = "FAILED_PRECONDITION"


class Aborted(Failure):
    """Somebody else was faster; read again and repeat."""

    status = "ABORTED"
    default_reason = "CONFLICT"


class ResourceExhausted(Failure):
    """Too much at once; repeat later."""

    status = "RESOURCE_EXHAUSTED"
    default_reason = "OVERLOADED"


class Unavailable(Failure):
    """Something that is needed cannot be reached; repeat later."""

    status = "UNAVAILABLE"
    default_reason = "UNAVAILABLE"


class DeadlineExceeded(Failure):
    """The caller's time ran out; the outcome may have been stored."""

    status = "DEADLINE_EXCEEDED"
    default_reason = "DEADLINE_EXCEEDED"


class ContractError(Exception):
    """Code and contract disagree; raised while a service starts, never while it serves."""
