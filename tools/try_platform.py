#!/usr/bin/env python3
"""Tries what all services share, over REST, on a running system: of `make up` or of compose.

Run by hand with the project's Python: `.venv/bin/python tools/try_platform.py`. The system is named as
for `crm`: CRM_URL, CRM_EMAIL, CRM_PASSWORD, of an administrator. It leaves users, teams and records behind.
"""

import argparse
import os
from functools import partial

from trial import identity, records, workspace
from trial.client import Client


def main() -> None:
    """Runs every chapter; the first that fails ends the trial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--webhooks-to",
        default="",
        metavar="HOST",
        help="how the system reaches this machine; it must allow that network (CRM_WEBHOOK_ALLOW_NETWORKS)",
    )
    host = parser.parse_args().webhooks_to
    public = Client(os.environ.get("CRM_URL", "http://127.0.0.1:8080"))
    admin = public.sign_in(os.environ["CRM_EMAIL"], os.environ["CRM_PASSWORD"])
    people = identity.people(admin)
    chapters = {
        "sign-in, second factor, sessions": identity.sign_in,
        "rights and record scope": identity.rights,
        "API keys, rotation of keys": identity.keys,
        "organisation, pick lists": identity.organization,
        "custom fields": records.custom_fields,
        "history, trash, purge": records.history_and_trash,
        "sensitive fields": records.sensitive_fields,
        "comments and followers": records.comments_and_followers,
        "collaborators": records.collaborators,
        "attachments": records.attachments,
        "bulk actions": records.bulk_actions,
        "saved views": records.saved_views,
        "import and export": records.files,
        "notifications": workspace.notifications,
        "automation rules": workspace.rules,
        "webhooks": partial(workspace.webhooks, host=host),
        "hand-over": identity.hand_over,
        "audit log": identity.audit,
    }
    for title, chapter in chapters.items():
        chapter(people)
        print(f"seen working: {title}", flush=True)


if __name__ == "__main__":
    main()
