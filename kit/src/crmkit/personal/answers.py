"""Answers that are kept for repeated requests, without what they say of a person."""

from typing import Any

import sqlalchemy as sa

from crmkit import contract
from crmkit.call import Home
from crmkit.personal.subject import Found
from crmkit.schema import IDEMPOTENCY
from crmkit.statements import compile_statement

_AT_ONCE = 20
_HOLDING = compile_statement(
    sa.text(
        "SELECT principal, method, request_id, response FROM idempotency WHERE EXISTS ("
        "SELECT 1 FROM unnest(:needles) AS needle WHERE position(needle IN response) > 0)"
    ).bindparams(sa.bindparam("needles", type_=sa.ARRAY(sa.LargeBinary)))
)
_KEY = ("principal", "method", "request_id")
_REPLACE = compile_statement(
    sa.update(IDEMPOTENCY)
    .where(
        *(IDEMPOTENCY.c[n] == sa.bindparam(f"of_{n}", type_=IDEMPOTENCY.c[n].type) for n in _KEY)
    )
    .values(response=sa.bindparam("new_response", type_=sa.LargeBinary))
)


async def strip_answers(home: Home, found: Found) -> None:
    """Leaves only the name in answers that hold a record found, or an address of the subject.

    The rows stay: a repeat must not do again what was done.
    """
    needles = [text.encode() for text in (*found.names, *found.subject.redactor.texts)]
    for start in range(0, len(needles), _AT_ONCE):
        some = {"needles": needles[start : start + _AT_ONCE]}
        for principal, method, request_id, response in await home.database.fetch_all(
            _HOLDING, some
        ):
            key = {"of_principal": principal, "of_method": method, "of_request_id": request_id}
            stripped = _name_only(_answers().get(method), bytes(response))
            await home.database.execute(_REPLACE, {**key, "new_response": stripped})


def _answers() -> dict[str, type[Any]]:
    return {
        method.path: method.output
        for service in contract.services().values()
        for method in contract.methods_of(service)
    }


def _name_only(output: type[Any] | None, response: bytes) -> bytes:
    if output is None or "name" not in output.DESCRIPTOR.fields_by_name:
        return b""
    stripped: bytes = output(name=output.FromString(response).name).SerializeToString()
    return stripped
