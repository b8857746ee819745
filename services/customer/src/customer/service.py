"""The customer service's table of contents."""

from pathlib import Path

from crmattachments.part import attachments
from crmkit.service import Service
from crmtransfer.part import bulk_actions, imports_and_exports
from customer.messaging.consumed import HANDLERS
from customer.rpc.account import AccountService
from customer.rpc.appointment import AppointmentService
from customer.rpc.consent import ConsentService
from customer.rpc.contact import ContactService
from customer.rpc.customer_view import CustomerViewService
from customer.rpc.duplicate import DuplicateSetService
from customer.rpc.duplicate_scan import DuplicateScanService
from customer.rpc.interaction import InteractionService
from customer.rpc.privacy import ErasureSubjectService, PrivacyService
from customer.rpc.search import SearchService
from customer.rpc.task import TaskService
from customer.rpc.work_log import WorkLogService
from customer.storage.account import ACCOUNTS
from customer.storage.appointment import APPOINTMENTS, REMINDER
from customer.storage.consent import CONSENTS
from customer.storage.contact import CONTACTS
from customer.storage.customer_pool import CUSTOMER_POOLS
from customer.storage.duplicate import DUPLICATE_SETS
from customer.storage.erasure import ERASE_LAST
from customer.storage.interaction import INTERACTIONS
from customer.storage.merge_record import MERGE_RECORDS
from customer.storage.personal import PERSONAL
from customer.storage.task import TASK_TIME, TASKS
from customer.usecases.erase_contact import FORGET, erase_last, forget_addresses
from customer.usecases.export_personal_data import GATHER, REMOVE, gather, remove
from customer.usecases.read_past import JOB as READ_PAST
from customer.usecases.read_past import read_past
from customer.usecases.reclaim_account import (
    HOUR,
    RECLAIM,
    SCAN,
    begin_hour,
    promise_hours,
    reclaim_account,
    scan_for_pools,
)
from customer.usecases.remind_of_appointment import remind_of_appointment
from customer.usecases.scan_for_duplicates import DUPLICATE_SCAN, scan_for_duplicates
from customer.usecases.tell_task_time import tell_task_time
from customer.usecases.tend_search import tend_search
from customer.usecases.watch_for_duplicates import watch_for_duplicates

SERVICE = Service(
    name="customer",
    migrations=Path(__file__).parent / "migrations",
    collections=[
        ACCOUNTS,
        CONTACTS,
        TASKS,
        INTERACTIONS,
        APPOINTMENTS,
        CONSENTS,
        CUSTOMER_POOLS,
        DUPLICATE_SETS,
        MERGE_RECORDS,
    ],
    servicers={
        "crm.customer.v1.AccountService": AccountService(),
        "crm.customer.v1.ConsentService": ConsentService(),
        "crm.customer.v1.ContactService": ContactService(),
        "crm.customer.v1.CustomerViewService": CustomerViewService(),
        "crm.customer.v1.AppointmentService": AppointmentService(),
        "crm.customer.v1.DuplicateScanService": DuplicateScanService(),
        "crm.customer.v1.DuplicateSetService": DuplicateSetService(),
        "crm.customer.v1.InteractionService": InteractionService(),
        "crm.customer.v1.PrivacyService": PrivacyService(),
        "crm.common.v1.ErasureSubjectService": ErasureSubjectService(),
        "crm.customer.v1.SearchService": SearchService(),
        "crm.customer.v1.TaskService": TaskService(),
        "crm.customer.v1.WorkLogService": WorkLogService(),
    },
    parts=[imports_and_exports, bulk_actions, attachments],
    consumes=HANDLERS,
    jobs={
        TASK_TIME: tell_task_time,
        REMINDER: remind_of_appointment,
        HOUR: begin_hour,
        SCAN: scan_for_pools,
        RECLAIM: reclaim_account,
        READ_PAST: read_past,
        DUPLICATE_SCAN: scan_for_duplicates,
        ERASE_LAST: erase_last,
        FORGET: forget_addresses,
        GATHER: gather,
        REMOVE: remove,
    },
    loops=[watch_for_duplicates, tend_search],
    on_first_start=promise_hours,
    personal=PERSONAL,
)
