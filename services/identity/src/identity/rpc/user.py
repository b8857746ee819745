"""UserService: what users do beyond the standard methods."""

from google.protobuf.empty_pb2 import Empty

from crm.identity.v1 import user_pb2
from crmkit import mail
from crmkit.call import Call
from crmkit.resources import change, draft
from crmkit.trash import purge
from identity.domain.password import check_password
from identity.domain.user import User
from identity.rpc.input_only import take_input_only
from identity.storage.sign_in_attempts import forget_failures
from identity.storage.traces import forget_traces_of
from identity.storage.user import USERS, put_password
from identity.usecases.absence import clear_absence, set_absence
from identity.usecases.authenticate import confirmed, current_user
from identity.usecases.hand_over import hand_over
from identity.usecases.password_links import invite, request_reset, set_password
from identity.usecases.passwords import hash_password


class UserService:
    """Users."""

    async def CreateUser(self, request: user_pb2.CreateUserRequest, call: Call) -> user_pb2.User:
        """Creates a user; without a password they are invited by mail to set one."""
        user: User = await draft(USERS, call, request.user)
        if request.user.HasField("password"):
            check_password(request.user.password, user.email)
            user.password_hash = await hash_password(request.user.password)
        await USERS.insert(call, user)
        if user.password_hash is None and not user.is_service:
            await invite(call, user)
        return _message(user)

    async def UpdateUser(self, request: user_pb2.UpdateUserRequest, call: Call) -> user_pb2.User:
        """Changes a user, perhaps the password; a new password ends the other sessions."""
        password, rest = take_input_only(request, "user", "password")
        password_hash = None
        if password is not None:
            before = await USERS.get(call, request.user.name, field="user.name")
            email = request.user.email or before.email
            check_password(password, email)
            password_hash = await hash_password(password)
        user, _ = await change(USERS, call, rest)
        if password_hash is not None:
            user.password_hash = password_hash
        return _message(await USERS.save(call, user))

    async def ActivateUser(
        self, request: user_pb2.ActivateUserRequest, call: Call
    ) -> user_pb2.User:
        """Lets a deactivated person sign in again."""
        async with USERS.changing(call, request) as user:
            user.activate()
        return _message(user)

    async def DeactivateUser(
        self, request: user_pb2.DeactivateUserRequest, call: Call
    ) -> user_pb2.User:
        """Ends the person's sessions and keys and refuses further sign-in; hands their records over."""
        async with USERS.changing(call, request) as user:
            user.deactivate()
        if request.successor:
            await hand_over(call, user.id, request.successor)
        return _message(user)

    async def SetAbsence(self, request: user_pb2.SetAbsenceRequest, call: Call) -> user_pb2.User:
        """Says that somebody is away, and who stands in for them."""
        return _message(await set_absence(call, request))

    async def ClearAbsence(
        self, request: user_pb2.ClearAbsenceRequest, call: Call
    ) -> user_pb2.User:
        """Says that somebody is not away."""
        return _message(await clear_absence(call, request))

    async def PurgeUser(self, request: user_pb2.PurgeUserRequest, call: Call) -> Empty:
        """Removes a deleted user, and what they signed in with."""
        user = await USERS.for_change(call, request.name, request.etag, deleted=True)
        await purge(call, USERS, user)
        await forget_traces_of(call.tx, user.id)
        return Empty()

    async def InviteUser(self, request: user_pb2.InviteUserRequest, call: Call) -> Empty:
        """Sends a user another link to set their first password."""
        mail.require_configured(call.home.settings)
        user = await USERS.get(call, request.name)
        user.refuse_invitation()
        await invite(call, user)
        return Empty()

    async def RequestPasswordReset(
        self, request: user_pb2.RequestPasswordResetRequest, call: Call
    ) -> Empty:
        """Sends a link to set a new password, if there is such a user."""
        await request_reset(call, request.email)
        return Empty()

    async def SetPassword(self, request: user_pb2.SetPasswordRequest, call: Call) -> Empty:
        """Sets a password with the token of a link."""
        await set_password(call, request.token, request.new_password)
        return Empty()

    async def GetCurrentUser(
        self, request: user_pb2.GetCurrentUserRequest, call: Call
    ) -> user_pb2.User:
        """The caller's own user."""
        return _message(await current_user(call))

    async def ChangePassword(self, request: user_pb2.ChangePasswordRequest, call: Call) -> Empty:
        """Changes the caller's own password, which ends their other sessions."""
        user = await confirmed(call, request.current_password, "current_password")
        check_password(request.new_password, user.email, field="new_password")
        await put_password(call, user, await hash_password(request.new_password))
        await forget_failures(call.tx, user.email)
        return Empty()


def _message(user: User) -> user_pb2.User:
    message: user_pb2.User = USERS.message(user)
    return message
