"""Answers Envoy's check (ext_authz): exchanges API keys and reads JSON bodies strictly.

200 lets the request pass, with the headers to replace; anything else is the caller's answer.
"""

from google.rpc import code_pb2
from starlette.requests import Request
from starlette.responses import Response

from gateway.api_keys import ApiKeys, IdentityUnavailableError, InvalidApiKeyError
from gateway.descriptors import pool
from gateway.routes import RouteTable
from gateway.statuses import http_status, status_header, status_json
from gateway.strict_json import BadBodyError, check_body

_SCHEME = "bearer"
_KEY_PREFIX = "crm_"
_JSON = "application/json"
_UNSUPPORTED = 415


class Check:
    """The check endpoint."""

    def __init__(self, routes: RouteTable, keys: ApiKeys) -> None:
        """Takes the REST rules, for their bodies, and the keys' exchange."""
        self._routes = routes
        self._keys = keys

    async def answer(self, request: Request) -> Response:
        """Checks the request that Envoy describes: verb, path, headers and a JSON body."""
        refusal = await self._refuse_body(request)
        if refusal is not None:
            return refusal
        key = _api_key(request)
        if key is None:
            return Response()
        try:
            token = await self._keys.exchange(key)
        except InvalidApiKeyError:
            message = "The API key is not valid."
            return _refuse(request, code_pb2.UNAUTHENTICATED, "INVALID_API_KEY", message)
        except IdentityUnavailableError:
            message = "The API key cannot be checked now; try again."
            return _refuse(request, code_pb2.UNAVAILABLE, "SERVICE_UNAVAILABLE", message)
        return Response(headers={"authorization": f"Bearer {token.token}", "x-sub": token.subject})

    async def _refuse_body(self, request: Request) -> Response | None:
        rule = self._routes.find(request.method, "/" + request.path_params["path"])
        if rule is None or not rule.has_json_body:
            return None
        body = await request.body()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and kind not in ("", _JSON):
            text = f"The content type must be {_JSON}."
            return status_json(
                code_pb2.INVALID_ARGUMENT, "UNSUPPORTED_CONTENT", text, http=_UNSUPPORTED
            )
        message = pool().FindMessageTypeByName(rule.input_type)
        try:
            check_body(body, message, rule.body)
        except BadBodyError as error:
            return status_json(
                code_pb2.INVALID_ARGUMENT,
                error.reason,
                str(error),
                violations=error.violations,
            )
        return None


def _api_key(request: Request) -> str | None:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    is_key = scheme.lower() == _SCHEME and credentials.startswith(_KEY_PREFIX)
    return credentials.strip() if is_key else None


def _refuse(request: Request, code: int, reason: str, message: str) -> Response:
    if request.headers.get("content-type", "").startswith("application/grpc"):
        # Becomes grpc-message; a content type here would spoil the gRPC answer.
        details = {"grpc-status-details-bin": status_header(code, reason, message)}
        return Response(message, http_status(code), details)
    return status_json(code, reason, message, headers={"www-authenticate": "Bearer"})
