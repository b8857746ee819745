"""Permission: what the contract says about who may call a method. Checked before anything is read."""

from crm.options.v1 import options_pb2
from crmkit.call import Call
from crmkit.errors import PermissionDenied, Unauthenticated


def authorize(call: Call) -> None:
    """Refuses a caller whom the method's options do not admit.

    Raises:
        Unauthenticated: Nobody is signed in and the method is not public.
        PermissionDenied: The permission is missing, or the calling service is not on the list.
    """
    method = call.method
    assert method is not None
    if method.callers and not (
        call.principal.service and ({"*", call.principal.service} & method.callers)
    ):
        msg = "Only services may call this method."
        raise PermissionDenied(msg, reason="CALLER_NOT_ALLOWED")
    if method.access in {options_pb2.PUBLIC, options_pb2.TOKEN}:
        return
    if not call.principal.signed_in:
        msg = "Sign in first."
        raise Unauthenticated(msg)
    if method.access == options_pb2.PERMISSION:
        call.principal.require(method.permission)
