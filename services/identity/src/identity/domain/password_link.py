"""Links by which people set their password: asked for when it is forgotten, or sent to invite them."""

# ruff: noqa: RUF001 - Chinese has punctuation of its own

from identity.domain.one_time_token import Purpose

# Pages of the console; the token stands behind the #, so that no log and no referrer ever has it.
_PAGES = {Purpose.RESET_PASSWORD: "reset-password", Purpose.INVITATION: "welcome"}

_RESET_EN = (
    "Set a new password",
    """Hello {person},

somebody, probably you, wants to set a new password for {organization}. Open this link within 30 minutes:

{link}

It works once. If you did not ask for it, do nothing: your password stays as it is.
""",
)
_INVITATION_EN = (
    "Your access to {organization}",
    """Hello {person},

you have been invited to {organization}. Open this link within 7 days and choose a password:

{link}

It works once.
""",
)
_RESET_ZH = (
    "设置新密码",
    """{person}，您好：

有人（可能是您本人）请求为 {organization} 设置新密码。请在 30 分钟内打开以下链接：

{link}

此链接只能使用一次。如果不是您本人操作，请忽略此邮件，您的密码不会改变。
""",
)
_INVITATION_ZH = (
    "您的 {organization} 账号",
    """{person}，您好：

您已受邀使用 {organization}。请在 7 天内打开以下链接并设置密码：

{link}

此链接只能使用一次。
""",
)
_TEXTS = {
    ("en", Purpose.RESET_PASSWORD): _RESET_EN,
    ("en", Purpose.INVITATION): _INVITATION_EN,
    ("zh", Purpose.RESET_PASSWORD): _RESET_ZH,
    ("zh", Purpose.INVITATION): _INVITATION_ZH,
}


def link_of(public_url: str, purpose: Purpose, token: str) -> str:
    """The address that a mail leads to; always one of ours, whatever the request's Host was."""
    return f"{public_url.rstrip('/')}/{_PAGES[purpose]}#token={token}"


def text_of(
    purpose: Purpose, language: str, *, person: str, organization: str, link: str
) -> tuple[str, str]:
    """Subject and text in the organisation's language; in English where we have no other."""
    base = language.partition("-")[0]
    subject, text = _TEXTS.get((base, purpose), _TEXTS["en", purpose])
    values = {"person": person, "organization": organization, "link": link}
    return " ".join(subject.format(**values).split()), text.format(**values)
