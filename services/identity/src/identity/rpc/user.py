"""UserService: what users do beyond the standard methods."""

from google.protobuf.empty_pb2 import Empty

from crm.identity.v1 import user_pb2
from crmkit import mail
from crmkit.call import Call
from crmkit.resources import change, draft
from identity.domain.password import check_password
from identity.domain.user import User
from identity.storage.sign_in_attempts import forget_failures
from identity.storage.user import USERS, put_password
from identity.usecases.authenticate import confirmed, current_user
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
        password, rest = _take_password(request)
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
        """Ends the person's sessions and keys and refuses further sign-in."""
        async with USERS.changing(call, request) as user:
            user.deactivate()
        return _message(user)

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


def _take_password(
    request: user_pb2.UpdateUserRequest,
) -> tuple[str | None, user_pb2.UpdateUserRequest]:
    """The new password, if one is sent, and the request without it."""
    paths = list(request.update_mask.paths)
    named = not paths or paths == ["*"] or "password" in paths
    password = request.user.password if request.user.HasField("password") and named else None
    if "password" in paths and password is None:
        password = ""  # a password cannot be cleared: refused as too short
    if "password" not in paths:
        return password, request
    rest = user_pb2.UpdateUserRequest()
    rest.CopyFrom(request)
    rest.update_mask.paths[:] = [path for path in paths if path != "password"]
    if not rest.update_mask.paths:  # without a mask the other populated fields would change too
        rest.user.Clear()
        rest.user.name, rest.user.etag = request.user.name, request.user.etag
    return password, rest
