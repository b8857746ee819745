"""Saved views as their caller sees them: with the mark of their own default."""

from collections.abc import Iterable
from typing import Any

from crm.workspace.v1 import saved_view_pb2
from crmkit import contract
from crmkit.call import Call
from crmkit.errors import FailedPrecondition
from crmkit.resources import Handler, standard_method
from workspace.storage.saved_view import SAVED_VIEWS, choose, default_view_ids, unchoose

_SERVICE = contract.services()["crm.workspace.v1.SavedViewService"]
_MARKED = {"GetSavedView", "ListSavedViews", "UpdateSavedView", "BatchGetSavedViews"}


class SavedViewService:
    """Choosing a default; the standard methods are the kit's, with the mark added."""

    def __init__(self) -> None:
        for method in contract.methods_of(_SERVICE):
            if method.name in _MARKED:
                handler = standard_method(SAVED_VIEWS, method)
                assert handler is not None
                setattr(self, method.name, _marking(handler))

    async def ChooseSavedView(
        self, request: saved_view_pb2.ChooseSavedViewRequest, call: Call
    ) -> saved_view_pb2.SavedView:
        """Makes the view the caller's default for its resource."""
        view = await SAVED_VIEWS.get(call, request.name)
        if view.delete_time is not None:
            msg = f"{request.name} is deleted; restore it first."
            raise FailedPrecondition(msg, reason="RECORD_DELETED")
        await choose(call, view)
        message: saved_view_pb2.SavedView = SAVED_VIEWS.message(view)
        await _mark(call, [message])
        return message

    async def UnchooseSavedView(
        self, request: saved_view_pb2.UnchooseSavedViewRequest, call: Call
    ) -> saved_view_pb2.SavedView:
        """Ends that the view is the caller's default."""
        view = await SAVED_VIEWS.get(call, request.name)
        await unchoose(call, view)
        message: saved_view_pb2.SavedView = SAVED_VIEWS.message(view)
        return message


def _marking(handler: Handler) -> Handler:
    async def marked(request: Any, call: Call) -> Any:
        answer = await handler(request, call)
        one = isinstance(answer, saved_view_pb2.SavedView)
        await _mark(call, [answer] if one else answer.saved_views)
        return answer

    return marked


async def _mark(call: Call, views: Iterable[saved_view_pb2.SavedView]) -> None:
    chosen = {str(view) for view in await default_view_ids(call)}
    for view in views:
        view.default_for_caller = view.uid in chosen
