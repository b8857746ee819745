"""Which records a contact is, and how only they can be reached."""

from crm.common.v1.personal_data_pb2 import PersonalDataSubject
from crmkit import merges
from crmkit.call import Call
from crmkit.db import Executor
from crmkit.personal.subject import Subject
from customer.domain.contact import Contact
from customer.storage.erasure import own_texts


async def subject_of(call: Call, executor: Executor, contact: Contact) -> Subject:
    """The contact with the private person's account that it may be, and their own addresses and numbers.

    With them is what was merged into them.
    """
    themselves = {"contacts": contact.id, "accounts": contact.person_account}
    records, names = [], []
    for collection, id_ in themselves.items():
        if id_ is not None:
            family = await merges.family(call, collection, id_, executor=executor)
            records += family
            names += [f"{collection}/{one}" for one in family]
    points = {email.address for email in contact.emails} | {p.number for p in contact.phones}
    texts = await own_texts(executor, records, points)
    return Subject.of(PersonalDataSubject(names=names, texts=texts))
