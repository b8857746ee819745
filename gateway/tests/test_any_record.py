"""Paths for any record, spelled out."""

from google.api import annotations_pb2, resource_pb2
from google.protobuf import descriptor_pb2

from crm.options.v1 import options_pb2
from gateway.any_record import spell_out


def contracts(*patterns: str) -> descriptor_pb2.FileDescriptorSet:
    """A package whose records have these names, and notes that belong to any of them."""
    files = descriptor_pb2.FileDescriptorSet()
    file = files.file.add(package="crm.garden.v1")
    for pattern in patterns:
        file.message_type.add().options.Extensions[resource_pb2.resource].pattern.append(pattern)
    method = file.service.add(name="NoteService").method.add(name="CreateNote")
    http = method.options.Extensions[annotations_pb2.http]
    http.post, http.body = "/v1/{parent=*/*}/notes", "note"
    elsewhere = files.file.add(package="crm.kitchen.v1").message_type.add()
    elsewhere.options.Extensions[resource_pb2.resource].pattern.append("pots/{pot}")
    return files


def paths(files: descriptor_pb2.FileDescriptorSet) -> list[tuple[str, str]]:
    """The ways to make a note: path and body."""
    http = files.file[0].service[0].method[0].options.Extensions[annotations_pb2.http]
    return [(rule.post, rule.body) for rule in (http, *http.additional_bindings)]


def test_it_is_a_path_for_each_kind_of_record_of_its_package() -> None:
    """INVARIANT: a new kind of record needs no path of its own; other services' records get none."""
    files = contracts("trees/{tree}", "beds/{bed}")
    spell_out(files)
    assert paths(files) == [
        ("/v1/{parent=beds/*}/notes", "note"),
        ("/v1/{parent=trees/*}/notes", "note"),
    ]


def test_singletons_and_children_are_no_records() -> None:
    files = contracts("weather", "trees/{tree}/leaves/{leaf}", "trees/{tree}")
    spell_out(files)
    assert paths(files) == [("/v1/{parent=trees/*}/notes", "note")]


def test_other_paths_stay() -> None:
    files = contracts("trees/{tree}")
    files.file[0].service[0].method[0].options.Extensions[annotations_pb2.http].post = "/v1/notes"
    spell_out(files)
    assert paths(files) == [("/v1/notes", "note")]


def test_a_service_may_be_for_records_of_one_scope() -> None:
    """INVARIANT: `of_records` leaves out the kinds of another scope."""
    files = contracts("trees/{tree}", "beds/{bed}")
    tree, bed = (message.options.Extensions for message in files.file[0].message_type)
    tree[options_pb2.scope], bed[options_pb2.scope] = options_pb2.OWNED, options_pb2.SHARED
    files.file[0].service[0].options.Extensions[options_pb2.of_records] = options_pb2.OWNED
    spell_out(files)
    assert paths(files) == [("/v1/{parent=trees/*}/notes", "note")]
