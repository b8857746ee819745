"""Which records a contact is, and how only they can be reached."""

from crm.common.v1.personal_data_pb2 import PersonalDataSubject
from crmkit.db import Executor
from crmkit.personal.subject import Subject
from customer.domain.contact import Contact
from customer.storage.erasure import own_texts


async def subject_of(executor: Executor, contact: Contact) -> Subject:
    """The contact with the private person's account that it may be, and their own addresses and numbers."""
    records, names = [contact.id], [f"contacts/{contact.id}"]
    if contact.person_account is not None:
        records.append(contact.person_account)
        names.append(f"accounts/{contact.person_account}")
    points = {email.address for email in contact.emails} | {p.number for p in contact.phones}
    texts = await own_texts(executor, records, points)
    return Subject.of(PersonalDataSubject(names=names, texts=texts))
