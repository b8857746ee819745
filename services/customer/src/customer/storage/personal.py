"""Where the customer service keeps personal data beside its records, and which of its records are people."""

from crmkit.personal.declaration import Kept, Personal
from customer.storage.account import ACCOUNTS, account_external_ids
from customer.storage.contact import CONTACTS, contact_external_ids
from customer.storage.duplicate_key import duplicate_keys
from customer.storage.search import search_entries, search_keys
from customer.storage.search_upkeep import search_again

PERSONAL = Personal(
    # Who belongs to a private person's account is somebody else.
    persons=frozenset({ACCOUNTS.name, CONTACTS.name}),
    not_redacted=frozenset({"emails", "phones", "external_id", "external_ids"}),
    rewritten=search_again,
    kept=(
        Kept(account_external_ids, (), about="record"),
        Kept(contact_external_ids, (), about="record"),
        Kept(duplicate_keys, (), about="record"),
        Kept(search_entries, (), about="record"),
        Kept(search_keys, (), about="record"),
    ),
    # Erasures forget addresses after the second looks; archives go with their person; words that are searched
    # for stand apart from whose they are, and go with the last record that has them. The rest: names, ids and
    # times.
    nothing=frozenset(
        {
            "erasures",
            "personal_data_exports",
            "account_claims",
            "account_touches",
            "duplicate_dismissals",
            "duplicate_scans",
            "duplicate_watch",
            "search_lost_words",
            "search_words",
            "timeline_entries",
            "timeline_records",
            "timeline_sources",
        }
    ),
    asks_others=True,
)
