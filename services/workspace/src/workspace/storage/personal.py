"""Where the workspace keeps personal data: in what it tells people, and in what rules and webhooks did."""

from crmkit.personal.declaration import Kept, Personal
from workspace.storage.notification import NOTIFICATIONS
from workspace.storage.notification_mail import notification_mails
from workspace.storage.rule_run import rule_runs
from workspace.storage.webhook_delivery import webhook_deliveries

PERSONAL = Personal(
    about={NOTIFICATIONS.name: "subject"},
    kept=(
        Kept(notification_mails, ("text", "parameters"), about="subject"),
        Kept(rule_runs, ("steps",), about="subject"),
        Kept(webhook_deliveries, ("attempts",), about="subject"),
    ),
    # How rules and webhooks do, and what people who work here want.
    nothing=frozenset(
        {
            "rule_health",
            "webhook_health",
            "default_views",
            "notification_preferences",
            "mail_settings",
            "known_absences",
        }
    ),
    asks_others=True,
)
