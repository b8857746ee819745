"""The chain around a method, composed once when the server starts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from crmkit.call import Call, Home
from crmkit.contract import Method
from crmkit.errors import InvalidArgument
from crmkit.interceptors.auth import Authenticator
from crmkit.interceptors.context import Admission, Outcome, call_of, seconds_left
from crmkit.interceptors.errors import abort, defect, failure_of
from crmkit.interceptors.idempotency import idempotent
from crmkit.interceptors.permission import authorize
from crmkit.interceptors.preconditions import apply_if_match
from crmkit.interceptors.unit_of_work import in_unit_of_work
from crmkit.interceptors.validation import validator

Function = Callable[[Any, Call], Any]


@dataclass(frozen=True)
class Surroundings:
    """What every method of a running service shares."""

    home: Home
    authenticator: Authenticator
    admission: Admission


def rpc_handler(method: Method, function: Function, around: Surroundings) -> grpc.RpcMethodHandler:
    """The gRPC handler of a method; requests arrive as bytes, so that broken ones get an answer."""
    serializer = method.output.SerializeToString
    if method.client_streaming:
        behavior = _client_streaming(method, function, around)
        return grpc.stream_unary_rpc_method_handler(behavior, None, serializer)
    if method.server_streaming:
        stream = _server_streaming(method, function, around)
        return grpc.unary_stream_rpc_method_handler(stream, None, serializer)
    behavior = _unary(method, _transactional(method, function), around)
    return grpc.unary_unary_rpc_method_handler(behavior, None, serializer)


def _transactional(method: Method, function: Function) -> Callable[[Any, Call], Awaitable[Any]]:
    if method.reads_only or method.saga:
        return function
    return idempotent(method, function) if method.idempotent else in_unit_of_work(function)


def _admit(method: Method, around: Surroundings, call: Call) -> None:
    call.principal = around.authenticator.authenticate(call)
    authorize(call)


def _parse(method: Method, data: bytes) -> Any:
    try:
        return method.input.FromString(data)
    except DecodeError:
        msg = f"The message is not a {method.input.DESCRIPTOR.full_name}."
        raise InvalidArgument(msg, reason="MALFORMED_MESSAGE") from None


def _unary(
    method: Method, handler: Callable[[Any, Call], Awaitable[Any]], around: Surroundings
) -> Any:
    validate = validator(method)

    async def answer(data: bytes, call: Call, seconds: float) -> Any:
        _admit(method, around, call)
        request = _parse(method, data)
        validate(request)
        apply_if_match(request, call)
        async with asyncio.timeout(seconds):
            return await handler(request, call)

    async def behavior(data: bytes, context: Any) -> Any:
        return await _guarded(
            method, around, context, lambda call: answer(data, call, seconds_left(context))
        )

    return behavior


def _client_streaming(method: Method, function: Function, around: Surroundings) -> Any:
    async def behavior(chunks: AsyncIterator[bytes], context: Any) -> Any:
        async def answer(call: Call) -> Any:
            _admit(method, around, call)
            requests = (_parse(method, data) async for data in chunks)
            return await in_unit_of_work(function)(requests, call)

        return await _guarded(method, around, context, answer)

    return behavior


async def _guarded(
    method: Method,
    around: Surroundings,
    context: Any,
    answer: Callable[[Call], Awaitable[Any]],
) -> Any:
    outcome = Outcome(method)
    call = call_of(method, context, around.home)
    try:
        with around.admission.admit(method):
            response = await answer(call)
        headers = _headers(response, call)
        if headers:
            await context.send_initial_metadata(headers)
    except asyncio.CancelledError:
        outcome.status = "CANCELLED"
        raise
    except Exception as error:  # noqa: BLE001 - the edge: every error gets an answer
        failure = failure_of(error, _singular(method)) or defect(error, call)
        outcome.status = failure.status
        await abort(context, failure, around.home.name, call)
    else:
        return response
    finally:
        outcome.finish(call)


def _server_streaming(method: Method, function: Function, around: Surroundings) -> Any:
    validate = validator(method)

    async def behavior(data: bytes, context: Any) -> AsyncIterator[Any]:
        outcome = Outcome(method)
        call = call_of(method, context, around.home)
        try:
            with around.admission.admit(method):
                _admit(method, around, call)
                request = _parse(method, data)
                validate(request)
                async for response in function(request, call):
                    yield response
        except (asyncio.CancelledError, GeneratorExit):
            outcome.status = "CANCELLED"
            raise
        except Exception as error:  # noqa: BLE001 - the edge: every error gets an answer
            failure = failure_of(error) or defect(error, call)
            outcome.status = failure.status
            await abort(context, failure, around.home.name, call)
        finally:
            await call.tx.end()
            outcome.finish(call)

    return behavior


def _headers(response: Any, call: Call) -> list[tuple[str, str]]:
    etag = getattr(response, "etag", "")
    return [*call.response_headers, *([("etag", etag)] if etag else [])]


def _singular(method: Method) -> str:
    """The field of the request that holds the resource, for paths in errors."""
    for field in method.input.DESCRIPTOR.fields:
        if field.message_type is not None and "etag" in field.message_type.fields_by_name:
            return field.name
    return ""
