"""The chain around a method, composed once when the server starts."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from crm.options.v1 import options_pb2
from crmkit import contract
from crmkit.audit import REFUSALS, audited, record_refusal, record_stream
from crmkit.call import Call, Home
from crmkit.clients import CAUSED_BY
from crmkit.contract import Method
from crmkit.errors import InvalidArgument
from crmkit.interceptors.auth import Authenticator
from crmkit.interceptors.context import Admission, Recorder, call_of, seconds_left
from crmkit.interceptors.errors import abort, defect, failure_of
from crmkit.interceptors.idempotency import idempotent
from crmkit.interceptors.permission import authorize
from crmkit.interceptors.preconditions import apply_if_match
from crmkit.interceptors.unit_of_work import in_unit_of_work
from crmkit.interceptors.validation import refuse_nul, validator
from crmkit.sensitive import conceal

Function = Callable[[Any, Call], Any]


@dataclass(frozen=True)
class Surroundings:
    """What every method of a running service shares."""

    home: Home
    authenticator: Authenticator
    admission: Admission


def rpc_handler(
    method: Method, function: Function, around: Surroundings
) -> "grpc.RpcMethodHandler[Any, Any]":
    """The gRPC handler of a method; requests arrive as bytes, so that broken ones get an answer.

    To the library every method takes a stream: a single message that never comes, it never answers.
    """
    serializer = method.output.SerializeToString
    if method.client_streaming:
        behavior = _client_streaming(method, function, around)
        return grpc.stream_unary_rpc_method_handler(behavior, None, serializer)
    if method.server_streaming:
        stream = _server_streaming(method, function, around)
        return grpc.stream_stream_rpc_method_handler(stream, None, serializer)
    behavior = _unary(method, _transactional(method, function), around)
    return grpc.stream_unary_rpc_method_handler(behavior, None, serializer)


def _transactional(method: Method, function: Function) -> Callable[[Any, Call], Awaitable[Any]]:
    if method.reads_only or method.saga:
        return function
    if method.audit:
        function = audited(method, function)
    return idempotent(method, function) if method.idempotent else in_unit_of_work(function)


async def _admit(around: Surroundings, call: Call) -> None:
    call.principal = await around.authenticator.authenticate(call)
    if call.principal.service is not None:
        call.causation_id = call.metadata.get(CAUSED_BY, "")[:100]
    authorize(call)


def _parse(method: Method, data: bytes | None) -> Any:
    if data is None:
        msg = "There is no message, or it ends early."
        raise InvalidArgument(msg, reason="MALFORMED_MESSAGE")
    try:
        return method.input.FromString(data)
    except DecodeError:
        msg = f"The message is not a {method.input.DESCRIPTOR.full_name}."
        raise InvalidArgument(msg, reason="MALFORMED_MESSAGE") from None


def _unary(
    method: Method, handler: Callable[[Any, Call], Awaitable[Any]], around: Surroundings
) -> Any:
    validate = validator(method)

    async def answer(data: bytes | None, call: Call, seconds: float) -> Any:
        await _admit(around, call)
        request = _parse(method, data)
        refuse_nul(request, data or b"")
        validate(request)
        apply_if_match(request, call)
        async with asyncio.timeout(seconds):
            response = await handler(request, call)
        conceal(call.principal, response)
        return response

    guarded = _guarded(method, around, answer)

    async def behavior(messages: AsyncIterator[bytes], context: Any) -> Any:
        return await guarded(await anext(messages, None), context)

    return behavior


def _client_streaming(method: Method, function: Function, around: Surroundings) -> Any:
    handler = function if method.saga else in_unit_of_work(function)
    validate = validator(method)

    async def messages(chunks: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        """Only the first message says what is sent; the others go on with it."""
        first = True
        async for data in chunks:
            request = _parse(method, data)
            if first:
                refuse_nul(request, data)
                validate(request)
                first = False
            yield request

    async def answer(chunks: AsyncIterator[bytes], call: Call, _seconds: float) -> Any:
        await _admit(around, call)
        response = await handler(messages(chunks), call)
        conceal(call.principal, response)
        return response

    return _guarded(method, around, answer)


def _guarded(
    method: Method, around: Surroundings, answer: Callable[[Any, Call, float], Awaitable[Any]]
) -> Callable[[Any, Any], Awaitable[Any]]:
    """Counts, answers, records; every error becomes a status."""
    recorder, singular = Recorder(method), _singular(method)

    async def guarded(request: Any, context: Any) -> Any:
        started, status = time.perf_counter(), "OK"
        call = call_of(method, context, around.home)
        try:
            around.admission.enter(method)
            try:
                response = await answer(request, call, seconds_left(context))
            finally:
                around.admission.leave(method)
            await _send_headers(response, call, context)
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        except Exception as error:  # noqa: BLE001 - the edge: every error gets an answer
            failure = failure_of(error, singular) or defect(error, call)
            status = failure.status
            if method.audit and status in REFUSALS:
                await record_refusal(method, call, failure)
            await abort(context, failure, around.home.name, call)
        else:
            return response
        finally:
            recorder.record(started, status, call)

    return guarded


def _server_streaming(method: Method, function: Function, around: Surroundings) -> Any:
    validate, recorder = validator(method), Recorder(method)

    async def behavior(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        data = await anext(messages, None)
        started, status = time.perf_counter(), "OK"
        call = call_of(method, context, around.home)

        async def begin() -> None:
            await context.send_initial_metadata(call.response_headers)
            call.response_headers = []

        call.begin_answer = begin
        try:
            around.admission.enter(method)
            try:
                await _admit(around, call)
                request = _parse(method, data)
                refuse_nul(request, data or b"")
                validate(request)
                audit = method.audit
                async for response in function(request, call):
                    if audit:  # once, and before anything leaves
                        await record_stream(method, call, request)
                        audit = options_pb2.AUDIT_CATEGORY_UNSPECIFIED
                    conceal(call.principal, response)
                    if call.response_headers:  # once, before the first message
                        await begin()
                    yield response
            finally:
                around.admission.leave(method)
        except (asyncio.CancelledError, GeneratorExit):
            status = "CANCELLED"
            raise
        except Exception as error:  # noqa: BLE001 - the edge: every error gets an answer
            failure = failure_of(error) or defect(error, call)
            status = failure.status
            if method.audit and status in REFUSALS:
                await record_refusal(method, call, failure)
            await abort(context, failure, around.home.name, call)
        finally:
            await call.tx.end()
            recorder.record(started, status, call)

    return behavior


# Envoy sets it on requests that it has translated from REST.
_TRANSLATED = "x-envoy-original-path"


async def _send_headers(response: Any, call: Call, context: Any) -> None:
    """Answers a REST client's ETag; gRPC clients find it in the message."""
    headers = call.response_headers
    if _TRANSLATED in call.metadata and (etag := getattr(response, "etag", "")):
        headers = [*headers, ("etag", etag)]
    if headers:
        await context.send_initial_metadata(headers)


def _singular(method: Method) -> str:
    """What paths in errors begin with: the request's resource, else the resource that is answered."""
    for field in method.input.DESCRIPTOR.fields:
        if field.message_type is not None and "etag" in field.message_type.fields_by_name:
            return field.name
    answered = contract.resource_type(method.output)
    return contract.resources()[answered].singular if answered else ""
