"""What happens to accounts besides being written."""

from crm.customer.v1 import account_pb2
from crmkit.call import Call
from crmkit.errors import InvalidArgument
from crmkit.field_values import text as clean
from crmkit.money import Money
from crmkit.names import parse_name
from customer.domain.account import Account, Credit
from customer.rpc.merge import merge_into, take_back
from customer.rpc.values import date_of, name_of
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS
from customer.usecases.create_account import create_with_contacts
from customer.usecases.pool_account import claim, release
from customer.usecases.transfer_account import transfer

_Grade = account_pb2.Account.Grade
_Source = account_pb2.Account.GradeSource.Value
_CreditState = account_pb2.Account.CreditState


class AccountService:
    """Grading, credit, transfer, pools, finding; the standard methods come from the kit."""

    async def GradeAccount(
        self, request: account_pb2.GradeAccountRequest, call: Call
    ) -> account_pb2.Account:
        """Says how much an account means to us."""
        grade = name_of(_Grade, request.grade, "grade")
        source = name_of(_Source, request.source, "source") or "MANUAL"
        reason = clean(request.reason, "reason", one_line=False)
        async with ACCOUNTS.changing(call, request) as account:
            account.grade_as(grade, source, reason or None)
        return _message(account)

    async def SetAccountCredit(
        self, request: account_pb2.SetAccountCreditRequest, call: Call
    ) -> account_pb2.Account:
        """Decides how much an account may owe."""
        credit = _credit(request)
        async with ACCOUNTS.changing(call, request) as account:
            account.decide_credit(credit)
        return _message(account)

    async def CreateAccountWithContacts(
        self, request: account_pb2.CreateAccountWithContactsRequest, call: Call
    ) -> account_pb2.CreateAccountWithContactsResponse:
        """Creates an account and its contacts together."""
        account, contacts = await create_with_contacts(call, request.account, request.contacts)
        response = account_pb2.CreateAccountWithContactsResponse(account=_message(account))
        response.contacts.extend([CONTACTS.message(contact) for contact in contacts])
        return response

    async def TransferAccount(
        self, request: account_pb2.TransferAccountRequest, call: Call
    ) -> account_pb2.Account:
        """Gives an account, and its contacts, to another owner."""
        owner = parse_name(request.owner, collection="users", field="owner")
        account = await transfer(call, request, owner)
        return _message(account)

    async def ReleaseAccountToPool(
        self, request: account_pb2.ReleaseAccountToPoolRequest, call: Call
    ) -> account_pb2.Account:
        """Puts an account into a customer pool."""
        pool = parse_name(request.pool, collection="customerPools", field="pool")
        return _message(await release(call, request, pool))

    async def ClaimAccount(
        self, request: account_pb2.ClaimAccountRequest, call: Call
    ) -> account_pb2.Account:
        """Makes an account in a customer pool the caller's own."""
        return _message(await claim(call, request))

    async def LookupAccountByExternalId(
        self, request: account_pb2.LookupAccountByExternalIdRequest, call: Call
    ) -> account_pb2.Account:
        """Finds an account by its identifier in another system."""
        return _message(await ACCOUNTS.by_external_id(call, request.system, request.external_id))

    async def MergeAccounts(
        self, request: account_pb2.MergeAccountsRequest, call: Call
    ) -> account_pb2.MergeAccountsResponse:
        """Makes several accounts one."""
        answer = account_pb2.MergeAccountsResponse()
        await merge_into(call, ACCOUNTS, request, answer)
        return answer

    async def UnmergeAccounts(
        self, request: account_pb2.UnmergeAccountsRequest, call: Call
    ) -> account_pb2.UnmergeAccountsResponse:
        """Takes a merge back."""
        answer = account_pb2.UnmergeAccountsResponse()
        await take_back(call, ACCOUNTS, request, answer)
        return answer

    async def LookupAccountByNumber(
        self, request: account_pb2.LookupAccountByNumberRequest, call: Call
    ) -> account_pb2.Account:
        """Finds an account by its customer number."""
        return _message(await ACCOUNTS.by_number(call, request.customer_number))


def _credit(request: account_pb2.SetAccountCreditRequest) -> Credit:
    reason = clean(request.reason, "reason", one_line=False)
    state = name_of(_CreditState, request.credit_state, "credit_state")
    if not reason or state is None:
        path = "credit_state" if reason else "reason"
        msg = f"{path} is required."
        raise InvalidArgument(msg, reason="REQUIRED_FIELD", field=path)
    limit, reviewed = request.credit_limit, request.credit_review_date
    has_limit, has_date = (request.HasField(n) for n in ("credit_limit", "credit_review_date"))
    return Credit(
        credit_class=clean(request.credit_class, "credit_class") or None,
        state=state,
        limit=Money.from_units_nanos(limit.units, limit.nanos, limit.currency_code, "credit_limit")
        if has_limit
        else None,
        review_date=date_of(reviewed, "credit_review_date") if has_date else None,
        reason=reason,
    )


def _message(account: Account) -> account_pb2.Account:
    message: account_pb2.Account = ACCOUNTS.message(account)
    return message
