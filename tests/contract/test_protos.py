"""The rules of the contracts, checked on every descriptor."""

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from buf.validate import validate_pb2
from google.api import annotations_pb2, field_behavior_pb2, resource_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from crm.options.v1 import options_pb2
from crmkit import contract
from gateway.routes import route_table

# Number of each field that every resource has; issues add fields from 12 on.
STANDARD_FIELDS = {
    "name": 1, "uid": 2, "create_time": 3, "update_time": 4, "delete_time": 5, "etag": 6,
    "creator": 7, "owner": 8, "team": 9, "labels": 10, "external_id": 11,
    "custom_fields": 100,
}  # fmt: skip
# A singleton belongs to nobody and is never deleted.
OF_SINGLETONS = {"name", "uid", "create_time", "update_time", "etag", "labels"}
# Methods that the audit log knows, wherever they are: what leaves, jobs that people start, who signs in.
RECORDED = {
    "CreateExport", "DownloadExport", "CreateImport", "CreateBulkAction", "RevertBulkAction",
    "CreateHandover", "CreateSession", "CompleteSignIn", "ExchangeApiKey", "FinishSingleSignOn",
    "PurgeAttachment",
}  # fmt: skip
ONES_OWN = {"Notification"}  # purged by whom it was for; nobody else misses it
GIVES_RIGHTS = {"User", "Role", "Team", "ApiKey", "IdentityProvider"}
DEFINITIONS = {"metrics"}  # not stored records: defined in code


def methods() -> list[MethodDescriptor]:
    return [m for s in contract.services().values() for m in s.methods]


def routed() -> list[MethodDescriptor]:
    return [m for m in methods() if m.containing_service.file.package != "crm.common.v1"]


def templates(method: MethodDescriptor) -> list[tuple[str, str]]:
    """Verb and path of each HTTP rule of a method, `/v1/quotes/*:accept`."""
    address = f"/{method.containing_service.full_name}/{method.name}"
    return [
        (rule.verb.lower(), re.sub(r"\{[^=}]+=([^}]*)\}", r"\1", rule.template))
        for rule in route_table().rules
        if rule.grpc_path == address
    ]


def messages() -> Iterator[Descriptor]:
    stack = [d for m in contract._modules() for d in m.DESCRIPTOR.message_types_by_name.values()]
    while stack:
        message = stack.pop()
        stack += message.nested_types
        if not message.GetOptions().map_entry:
            yield message


def fields() -> list[FieldDescriptor]:
    return [f for m in messages() for f in m.fields]


def records() -> list[contract.ResourceContract]:
    return [r for r in contract.resources().values() if r.collection not in DEFINITIONS]


def behaviors(field: FieldDescriptor) -> set[int]:
    return set(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])


def name_of(descriptor: object) -> str:
    return str(getattr(descriptor, "full_name", getattr(descriptor, "type_name", descriptor)))


@pytest.mark.parametrize("method", methods(), ids=name_of)
def test_a_method_says_who_may_call_it(method: MethodDescriptor) -> None:
    """INVARIANT: a method without access, or with a permission of another service, does not start."""
    options = method.GetOptions()
    access = options.Extensions[options_pb2.access]
    permission = options.Extensions[options_pb2.permission]
    assert access != options_pb2.ACCESS_UNSPECIFIED
    assert bool(permission) == (access == options_pb2.PERMISSION)
    if permission:
        service = contract.service_of(method.containing_service.file.package)
        assert re.fullmatch(rf"{service}\.[a-z][a-zA-Z]*\.[a-z][a-zA-Z]*", permission)


@pytest.mark.parametrize("method", routed(), ids=name_of)
def test_a_method_can_be_called_over_rest(method: MethodDescriptor) -> None:
    """Every routed method has an HTTP rule under /v1/."""
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    pattern = rule.WhichOneof("pattern")
    assert pattern in {"get", "post", "patch", "delete"}
    assert getattr(rule, pattern).startswith("/v1/")
    if method.name.startswith(("Get", "List", "BatchGet")) and not method.server_streaming:
        assert pattern == "get"


def test_no_two_methods_share_an_http_rule() -> None:
    """INVARIANT: a request has one meaning."""
    rules = Counter(rule for method in routed() for rule in templates(method))
    assert not [rule for rule, count in rules.items() if count > 1]


@pytest.mark.parametrize("field", fields(), ids=name_of)
def test_a_field_says_how_it_behaves_and_how_large_it_may_be(field: FieldDescriptor) -> None:
    """Every field has a behaviour; every string a length, every list a number of items."""
    if field.containing_type.GetOptions().Extensions[options_pb2.event] == "":
        assert behaviors(field), "field_behavior is missing"
    rules = field.GetOptions().Extensions[validate_pb2.field]
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    written = field_behavior_pb2.OUTPUT_ONLY not in behaviors(field)
    if is_map:
        assert not written or rules.map.max_pairs
    elif field.is_repeated:
        assert rules.repeated.max_items
        if field.type == FieldDescriptor.TYPE_STRING:
            assert rules.repeated.items.string.max_len
    elif field.type == FieldDescriptor.TYPE_STRING:
        assert rules.string.max_len


@pytest.mark.parametrize("record", records(), ids=name_of)
def test_every_resource_begins_with_the_same_fields(record: contract.ResourceContract) -> None:
    """A stranger finds name, etag, owner … at the same place in every resource."""
    by_name = record.message.DESCRIPTOR.fields_by_name
    wanted = {
        n: i for n, i in STANDARD_FIELDS.items() if not record.singleton or n in OF_SINGLETONS
    }
    assert {n: by_name[n].number for n in wanted} == wanted
    assert min(f.number for n, f in by_name.items() if n not in STANDARD_FIELDS) > 11


def test_what_is_hidden_from_some_is_said_and_has_a_right() -> None:
    """INVARIANT: a sensitive field can be given to a role, and a caller can tell hidden from empty."""
    sensitive = [record for record in records() if record.sensitive]
    assert {r.collection for r in sensitive} >= {"accounts", "campaigns"}
    for record in sensitive:
        field = record.message.DESCRIPTOR.fields_by_name["hidden_fields"]
        assert field.number == 99
        assert field_behavior_pb2.OUTPUT_ONLY in behaviors(field)
        assert record.read_sensitive in contract.permissions()
        assert not record.sensitive & STANDARD_FIELDS.keys()


@pytest.mark.parametrize("record", records(), ids=name_of)
def test_state_moves_by_methods_only(record: contract.ResourceContract) -> None:
    """INVARIANT: no request sets a state."""
    state = record.message.DESCRIPTOR.fields_by_name.get("state")
    if state is not None:
        assert field_behavior_pb2.OUTPUT_ONLY in behaviors(state)


@pytest.mark.parametrize("record", records(), ids=name_of)
def test_every_standard_change_has_its_event(record: contract.ResourceContract) -> None:
    """Every version of a record is published."""
    service = contract.services()[f"crm.{record.service}.v1.{record.noun}Service"]
    verbs = {
        "Create": "created", "Update": "updated", "Delete": "deleted", "Undelete": "undeleted",
        "Purge": "purged",
    }  # fmt: skip
    for verb, past in verbs.items():
        if f"{verb}{record.noun}" in service.methods_by_name:
            event = contract.events()[f"{record.service}.{record.singular}.{past}"]
            assert event.subject_field == record.singular


@pytest.mark.parametrize("record", records(), ids=name_of)
def test_what_belongs_to_somebody_can_be_handed_over(record: contract.ResourceContract) -> None:
    """INVARIANT: a record whose owner can change has the event that says so: hand-overs need it."""
    owner = record.message.DESCRIPTOR.fields_by_name.get("owner")
    stays = {"apiKeys", "auditEntries"}  # whoever has a key acts as its owner; the log is nobody's
    if owner is None or record.collection in stays:
        return
    if not behaviors(owner) & {field_behavior_pb2.OUTPUT_ONLY, field_behavior_pb2.IMMUTABLE}:
        assert f"{record.service}.{record.singular}.updated" in contract.events()


@pytest.mark.parametrize("record", records(), ids=name_of)
def test_what_can_be_deleted_can_be_purged(record: contract.ResourceContract) -> None:
    """INVARIANT: nothing stays in the trash for ever; purging has a permission of its own."""
    service = contract.services()[f"crm.{record.service}.v1.{record.noun}Service"]
    methods = {m.name: m for m in contract.methods_of(service)}
    if f"Delete{record.noun}" in methods:
        purge = methods[f"Purge{record.noun}"]
        assert purge.permission == f"{record.service}.{record.collection}.purge"


@pytest.mark.parametrize("record", records(), ids=name_of)
def test_every_record_shows_its_history_to_who_may_read_it(
    record: contract.ResourceContract,
) -> None:
    """INVARIANT: history is a child of its record and needs the same permission."""
    service = contract.services()[f"crm.{record.service}.v1.{record.noun}Service"]
    methods = {m.name: m for m in contract.methods_of(service)}
    history, get = methods["ListRevisions"], methods[f"Get{record.noun}"]
    assert (history.access, history.permission) == (get.access, get.permission)
    rule = service.methods_by_name["ListRevisions"].GetOptions().Extensions[annotations_pb2.http]
    pattern = record.collection if record.singleton else f"{record.collection}/*"
    assert rule.get == f"/v1/{{parent={pattern}}}/revisions"


@pytest.mark.parametrize("record", records(), ids=name_of)
def test_a_batch_is_allowed_to_whom_the_single_change_is(record: contract.ResourceContract) -> None:
    """INVARIANT: BatchUpdate, BatchDelete and BatchUndelete go with the single methods' permissions."""
    service = contract.services()[f"crm.{record.service}.v1.{record.noun}Service"]
    methods = {m.name: m for m in contract.methods_of(service)}
    for name, batch in methods.items():
        changes = re.match("Batch(Update|Delete|Undelete)", name)
        if changes is not None:
            single = methods[f"{changes[1]}{record.noun}"]
            assert (batch.access, batch.permission) == (single.access, single.permission)
            assert batch.idempotent
            assert {"names", "etags"} <= set(batch.input.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("record", records(), ids=name_of)
def test_every_record_of_a_domain_service_is_talked_about_followed_and_shared(
    record: contract.ResourceContract,
) -> None:
    """INVARIANT: what belongs to records has a path for every collection of its package, in each method."""
    for noun in ("Attachment", "Document", "Comment", "Follower", "Collaborator"):
        service = contract.services().get(f"crm.{record.service}.v1.{noun}Service")
        assert service or record.service in {"identity", "workspace"}
        for method in service.methods if service else ():
            paths = [path for _, path in templates(method)]
            found = [p for p in paths if p.startswith(f"/v1/{record.collection}/*")]
            # What everybody sees is not shared one by one.
            needed = not record.shared or noun != "Collaborator"
            assert len(found) == needed, method.full_name


@pytest.mark.parametrize("method", routed(), ids=name_of)
def test_what_leaves_comes_in_changes_many_or_changes_rights_is_in_the_audit_log(
    method: MethodDescriptor,
) -> None:
    """INVARIANT: no export, import, bulk change, erasure or change of rights goes unrecorded."""
    service = contract.service_of(method.containing_service.file.package)
    noun = method.containing_service.name.removesuffix("Service")
    audit = method.GetOptions().Extensions[options_pb2.audit]
    changes = method.name.startswith(("Create", "Update", "Delete", "Undelete", "Purge"))
    changes_many = method.name.startswith(
        ("BatchUpdate", "BatchDelete", "BatchUndelete", "CreateBulkAction", "RevertBulkAction")
    )
    if (
        changes_many
        or (method.name.startswith("Purge") and noun not in ONES_OWN)
        or method.name in RECORDED
        or (service == "identity" and noun in GIVES_RIGHTS and changes)
    ):
        assert audit
    if audit and service != "identity":
        assert f"{service}.audit_entry.recorded" in contract.events()


@pytest.mark.parametrize("method", routed(), ids=name_of)
def test_a_change_can_be_repeated_safely(method: MethodDescriptor) -> None:
    """What is `idempotent` takes a request_id; a standard change always is."""
    idempotent = method.GetOptions().Extensions[options_pb2.idempotent]
    assert idempotent == ("request_id" in method.input_type.fields_by_name)
    if method.name.startswith(("Create", "Update", "Delete", "Undelete")):
        resource = method.output_type.GetOptions().HasExtension(resource_pb2.resource)
        assert idempotent or not resource


@pytest.mark.parametrize("method", routed(), ids=name_of)
def test_a_list_pages_filters_and_sorts(method: MethodDescriptor) -> None:
    """Every list of records takes page_size, page_token, filter, order_by and show_deleted."""
    if method.name == "ListRevisions":  # a record's own, in one order
        return
    noun = method.containing_service.name.removesuffix("Service")
    stored = any(r.noun == noun for r in records())
    if method.name.startswith("List") and stored:
        wanted = {"page_size", "page_token", "filter", "order_by", "show_deleted"}
        assert wanted <= set(method.input_type.fields_by_name)
        assert "next_page_token" in method.output_type.fields_by_name


@pytest.mark.parametrize("message", list(messages()), ids=name_of)
def test_enums_are_nested_and_begin_with_unspecified(message: Descriptor) -> None:
    """0 always means "not said"."""
    for enum in message.enum_types:
        assert enum.values_by_number[0].name.endswith("_UNSPECIFIED")


def test_routing_keys_name_service_noun_and_past() -> None:
    """`sales.opportunity.won` belongs to the package crm.sales.v1."""
    for key, event in contract.events().items():
        assert re.fullmatch(rf"{event.service}\.[a-z_]+\.[a-z_]+", key)


def test_events_hold_the_record_first() -> None:
    """A consumer finds the record after the change in field 1."""
    for event in contract.events().values():
        first = event.message.DESCRIPTOR.fields[0]
        assert first.number == 1
