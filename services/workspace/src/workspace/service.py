"""The workspace service's table of contents."""

from pathlib import Path

from crmkit.service import Service
from workspace.messaging.consumed import react
from workspace.rpc.notification import NotificationService
from workspace.rpc.rule import RuleService
from workspace.rpc.rule_run import RuleRunService
from workspace.rpc.saved_view import SavedViewService
from workspace.rpc.webhook import WebhookService
from workspace.rpc.webhook_delivery import WebhookDeliveryService
from workspace.settings import WorkspaceSettings
from workspace.storage.notification import NOTIFICATIONS
from workspace.storage.personal import PERSONAL
from workspace.storage.rule import RULES
from workspace.storage.saved_view import SAVED_VIEWS
from workspace.storage.webhook import WEBHOOKS
from workspace.usecases.deliver_webhook import DELIVER, deliver
from workspace.usecases.housekeeping import TIDY, promise_to_tidy, tidy
from workspace.usecases.mail_notifications import SEND_MAIL, mail_notifications
from workspace.usecases.run_rule import RUN_RULE, run_rule

SERVICE = Service(
    name="workspace",
    migrations=Path(__file__).parent / "migrations",
    collections=[SAVED_VIEWS, WEBHOOKS, RULES, NOTIFICATIONS],
    servicers={
        "crm.workspace.v1.SavedViewService": SavedViewService(),
        "crm.workspace.v1.WebhookService": WebhookService(),
        "crm.workspace.v1.WebhookDeliveryService": WebhookDeliveryService(),
        "crm.workspace.v1.RuleService": RuleService(),
        "crm.workspace.v1.RuleRunService": RuleRunService(),
        "crm.workspace.v1.NotificationService": NotificationService(),
    },
    consumes={
        "identity.*": react,
        "customer.*": react,
        "sales.*": react,
        "marketing.*": react,
        "support.*": react,
    },
    jobs={
        DELIVER: deliver,
        RUN_RULE: run_rule,
        SEND_MAIL: mail_notifications,
        TIDY: tidy,
    },
    on_first_start=promise_to_tidy,
    personal=PERSONAL,
    settings=WorkspaceSettings,
)
