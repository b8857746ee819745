"""SecondFactorService: the caller's own second factor, and resetting somebody else's."""

from urllib.parse import urlsplit

from google.protobuf.empty_pb2 import Empty

from crm.identity.v1 import second_factor_pb2 as pb
from crm.identity.v1 import user_pb2
from crmkit.call import Call
from identity.domain.second_factor import refuse_if_off
from identity.storage.second_factor import count_recovery_codes, factor_of, forget_factor
from identity.storage.user import USERS
from identity.usecases.authenticate import own_user
from identity.usecases.second_factor import confirm, disable, enroll, replace_codes


class SecondFactorService:
    """Second factors."""

    async def GetSecondFactor(
        self, request: pb.GetSecondFactorRequest, call: Call
    ) -> pb.SecondFactor:
        """Whether the caller's sign-in needs a code."""
        user = await own_user(call)
        message = pb.SecondFactor(enabled=user.second_factor)
        factor = await factor_of(call.reader, call, user.id) if user.second_factor else None
        if factor is not None and factor.confirm_time is not None:
            message.confirm_time.FromDatetime(factor.confirm_time)
            message.recovery_code_count = await count_recovery_codes(call.reader, user.id)
        return message

    async def EnrollSecondFactor(
        self, request: pb.EnrollSecondFactorRequest, call: Call
    ) -> pb.EnrollSecondFactorResponse:
        """A new secret, not yet in force."""
        factor, user = await enroll(call, request.password)
        host = urlsplit(call.home.settings.public_url).hostname
        issuer = call.organization.display_name or f"CRM {host}"
        return pb.EnrollSecondFactorResponse(
            secret=factor.secret, provisioning_uri=factor.provisioning_uri(user.email, issuer)
        )

    async def ConfirmSecondFactor(
        self, request: pb.ConfirmSecondFactorRequest, call: Call
    ) -> pb.RecoveryCodes:
        """Turns the second factor on."""
        return pb.RecoveryCodes(codes=await confirm(call, request.code))

    async def DisableSecondFactor(
        self, request: pb.DisableSecondFactorRequest, call: Call
    ) -> Empty:
        """Turns the second factor off."""
        await disable(call, request.password)
        return Empty()

    async def ReplaceRecoveryCodes(
        self, request: pb.ReplaceRecoveryCodesRequest, call: Call
    ) -> pb.RecoveryCodes:
        """New recovery codes."""
        return pb.RecoveryCodes(codes=await replace_codes(call, request.password))

    async def ResetSecondFactor(
        self, request: pb.ResetSecondFactorRequest, call: Call
    ) -> user_pb2.User:
        """Turns somebody's second factor off."""
        async with USERS.changing(call, request) as user:
            refuse_if_off(second_factor=user.second_factor)
            user.second_factor = False
        await forget_factor(call.tx, user.id)
        message: user_pb2.User = USERS.message(user)
        return message
