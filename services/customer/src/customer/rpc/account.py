"""What happens to accounts besides being written."""

from crm.customer.v1 import account_pb2
from crmkit.call import Call
from crmkit.errors import InvalidArgument
from crmkit.money import Money
from customer.domain.account import Account, Credit
from customer.rpc.values import date_of
from customer.storage.account import ACCOUNTS

_Grade = account_pb2.Account.Grade
_Source = account_pb2.Account.GradeSource.Value
_CreditState = account_pb2.Account.CreditState


class AccountService:
    """Grading, credit, finding; the standard methods come from the kit."""

    async def GradeAccount(
        self, request: account_pb2.GradeAccountRequest, call: Call
    ) -> account_pb2.Account:
        """Says how much an account means to us."""
        grade = _Grade.Name(request.grade) if request.grade else None
        source = _Source.Name(request.source or _Source.MANUAL)
        async with ACCOUNTS.changing(call, request) as account:
            account.grade_as(grade, source, request.reason.strip() or None)
        return _message(account)

    async def SetAccountCredit(
        self, request: account_pb2.SetAccountCreditRequest, call: Call
    ) -> account_pb2.Account:
        """Decides how much an account may owe."""
        credit = _credit(request)
        async with ACCOUNTS.changing(call, request) as account:
            account.decide_credit(credit)
        return _message(account)

    async def LookupAccountByExternalId(
        self, request: account_pb2.LookupAccountByExternalIdRequest, call: Call
    ) -> account_pb2.Account:
        """Finds an account by its identifier in another system."""
        return _message(await ACCOUNTS.by_external_id(call, request.system, request.external_id))


def _credit(request: account_pb2.SetAccountCreditRequest) -> Credit:
    reason = request.reason.strip()
    if not reason:
        msg = "Say why."
        raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="reason")
    limit, reviewed = request.credit_limit, request.credit_review_date
    has_limit, has_date = (request.HasField(n) for n in ("credit_limit", "credit_review_date"))
    return Credit(
        credit_class=request.credit_class.strip(),
        state=_CreditState.Name(request.credit_state),
        limit=Money.from_units_nanos(limit.units, limit.nanos, limit.currency_code, "credit_limit")
        if has_limit
        else None,
        review_date=date_of(reviewed, "credit_review_date") if has_date else None,
        reason=reason,
    )


def _message(account: Account) -> account_pb2.Account:
    message: account_pb2.Account = ACCOUNTS.message(account)
    return message
