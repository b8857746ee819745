"""Which failures pass by themselves, and how a failure is named in logs and tables."""

import grpc
import psycopg
import psycopg_pool

from crmkit.errors import DeadlineExceeded, Failure, ResourceExhausted, Unavailable

# SQLSTATE classes: connection, serialization and deadlock, resources, locks, operator, system.
_TRANSIENT_CLASSES = frozenset({"08", "40", "53", "55", "57", "58"})
_TRANSIENT_STATES = frozenset({"25P03", "25P04"})  # the session was ended for being idle or slow
_MAX_CHARS = 500


class FeedDiverged(Exception):  # noqa: N818 - a state of affairs, not a programming error
    """The source's feed is not the one that was applied so far: it was restored or altered."""


def is_transient(error: BaseException) -> bool:
    """True if the same work may succeed later; such failures are never held against an event."""
    if isinstance(error, psycopg.errors.PipelineAborted):
        return False  # an earlier statement failed, and that decides
    if isinstance(error, psycopg.Error):
        state = error.sqlstate
        if state is None:
            return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_STATES
    return isinstance(
        error,
        (
            FeedDiverged, Unavailable, ResourceExhausted, DeadlineExceeded, grpc.RpcError,
            psycopg_pool.PoolTimeout, OSError, TimeoutError,
        ),
    )  # fmt: skip


def describe(error: BaseException) -> str:
    """The failure in one line, without the row values that PostgreSQL puts into details."""
    text = str(error)
    if isinstance(error, psycopg.Error):
        text = error.diag.message_primary or ""
    elif isinstance(error, Failure):
        text = f"{error.reason}: {error.message}"
    elif isinstance(error, grpc.aio.AioRpcError):
        text = f"{error.code().name}: {error.details()}"
    return f"{type(error).__name__}: {text}"[:_MAX_CHARS]
