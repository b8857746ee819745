"""Messages as JSON Schema 2020-12, the dialect of OpenAPI 3.1."""

from typing import Any

from buf.validate import validate_pb2
from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2

from gateway.descriptors import walk

Schema = dict[str, Any]
Field = descriptor_pb2.FieldDescriptorProto
Message = descriptor_pb2.DescriptorProto

_TIMESTAMP = {"type": "string", "format": "date-time"}
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": _TIMESTAMP,
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
        "additionalProperties": True,
    },
    "google.api.HttpBody": {"type": "string", "format": "binary"},
}
_INT32: Schema = {"type": "integer", "format": "int32"}
_INT64: Schema = {"type": "string", "format": "int64", "pattern": r"^-?\d+$"}
_SCALARS: dict[int, Schema] = {
    Field.TYPE_STRING: {"type": "string"},
    Field.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    Field.TYPE_BOOL: {"type": "boolean"},
    Field.TYPE_DOUBLE: {"type": "number", "format": "double"},
    Field.TYPE_FLOAT: {"type": "number", "format": "float"},
    Field.TYPE_INT32: _INT32,
    Field.TYPE_SINT32: _INT32,
    Field.TYPE_SFIXED32: _INT32,
    Field.TYPE_UINT32: _INT32 | {"minimum": 0},
    Field.TYPE_FIXED32: _INT32 | {"minimum": 0},
    Field.TYPE_INT64: _INT64,
    Field.TYPE_SINT64: _INT64,
    Field.TYPE_SFIXED64: _INT64,
    Field.TYPE_UINT64: _INT64,
    Field.TYPE_FIXED64: _INT64,
}
_BOUNDS = {
    "gte": "minimum",
    "lte": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
}


class Schemas:
    """Collects the schemas of the messages that are asked for, and of those they use."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        """Reads messages, enums and comments of `files`."""
        self.components: dict[str, Schema] = {}
        self.messages: dict[str, Message] = {}
        self.comments: dict[tuple[str, ...], str] = {}
        self._enums: dict[str, descriptor_pb2.EnumDescriptorProto] = {}
        self._requests: set[str] = set()
        for file in files.file:
            self._read_file(file)

    def reference(self, name: str, *, request: bool = False) -> Schema:
        """A reference to message `name`; in a request, unknown properties are refused."""
        if name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[name])
        key = component(name)
        seen = key in self.components
        if not seen or (request and name not in self._requests):
            if request:
                self._requests.add(name)
            self.components.setdefault(key, {})
            self.components[key] = self.object(name, request=name in self._requests)
        return {"$ref": f"#/components/schemas/{key}"}

    def object(
        self,
        name: str,
        *,
        request: bool,
        without: frozenset[str] = frozenset(),
        partial: bool = False,
    ) -> Schema:
        """The schema of message `name` itself.

        Args:
            name: full name.
            request: whether it is sent: unknown properties are refused.
            without: fields left out, because the path carries them.
            partial: whether no field is required (a PATCH).
        """
        fields = [field for field in self.messages[name].field if field.name not in without]
        result: Schema = {
            "type": "object",
            "properties": {f.name: self.property(name, f, request=request) for f in fields},
        }
        required = [field.name for field in fields if _behaves(field, "REQUIRED")]
        if required and not partial:
            result["required"] = required
        if request:
            result["additionalProperties"] = False
        return _described(result, self.comment(name))

    def property(self, message: str, field: Field, *, request: bool = False) -> Schema:
        """The schema of a field, with its comment, limits and direction."""
        schema = self._type(field, request=request)
        if _behaves(field, "OUTPUT_ONLY"):
            schema["readOnly"] = True
        if _behaves(field, "INPUT_ONLY"):
            schema["writeOnly"] = True
        return _described(schema, self.comment(message, field.name))

    def comment(self, *name: str) -> str:
        """The comment of a message, or of its field, enum value or method."""
        return self.comments.get(name, "")

    def _type(self, field: Field, *, request: bool) -> Schema:
        rules = field.options.Extensions[validate_pb2.field]
        entry = self.messages.get(field.type_name[1:])
        if entry is not None and entry.options.map_entry:
            values = self._single(entry.field[1], request=request)
            schema: Schema = {
                "type": "object",
                "additionalProperties": values | _limits(rules.map.values, entry.field[1]),
            }
            if rules.map.HasField("max_pairs"):
                schema["maxProperties"] = rules.map.max_pairs
            return schema
        single = self._single(field, request=request)
        if field.label != Field.LABEL_REPEATED:
            return single | _limits(rules, field)
        schema = {"type": "array", "items": single | _limits(rules.repeated.items, field)}
        if rules.repeated.HasField("min_items"):
            schema["minItems"] = rules.repeated.min_items
        if rules.repeated.HasField("max_items"):
            schema["maxItems"] = rules.repeated.max_items
        return schema

    def _single(self, field: Field, *, request: bool) -> Schema:
        name = field.type_name[1:]
        if field.type == Field.TYPE_MESSAGE:
            return self.reference(name, request=request)
        if field.type == Field.TYPE_ENUM:
            self.components.setdefault(component(name), self._enum(name))
            return {"$ref": f"#/components/schemas/{component(name)}"}
        return dict(_SCALARS[field.type])

    def _enum(self, name: str) -> Schema:
        values = [value.name for value in self._enums[name].value]
        lines = [f"- `{value}`: {self.comment(name, value)}" for value in values]
        text = "\n".join([self.comment(name), "", *lines])
        return {"type": "string", "enum": values, "description": text}

    def _read_file(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        comments = {
            tuple(location.path): location.leading_comments or location.trailing_comments
            for location in file.source_code_info.location
        }
        for path, name, item in walk(file):
            lines = comments.get(path, "").strip().splitlines()
            self.comments[name] = "\n".join(line.strip() for line in lines)
            if isinstance(item, descriptor_pb2.DescriptorProto):
                self.messages[name[0]] = item
            elif isinstance(item, descriptor_pb2.EnumDescriptorProto):
                self._enums[name[0]] = item


def component(name: str) -> str:
    """The component's name: `crm.customer.v1.Account` → `customer.Account`."""
    parts = name.split(".")
    if parts[0] == "crm":
        return ".".join((parts[1], *parts[3:]))
    return name


def _behaves(field: Field, behavior: str) -> bool:
    value = field_behavior_pb2.FieldBehavior.Value(behavior)
    return value in field.options.Extensions[field_behavior_pb2.field_behavior]


def _limits(rules: validate_pb2.FieldRules, field: Field) -> Schema:
    kind = rules.WhichOneof("type")
    if kind == "string" and field.type == Field.TYPE_STRING:
        names = {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"}
        text = rules.string
        present = {field.name for field, _ in text.ListFields()}
        return {names[old]: getattr(text, old) for old in sorted(present & names.keys())}
    numeric = _SCALARS.get(field.type, {}).get("type") in ("integer", "number")
    if kind and numeric:
        number = getattr(rules, kind)
        bounds = {number.WhichOneof("greater_than"), number.WhichOneof("less_than")} - {None}
        return {_BOUNDS[bound]: getattr(number, bound) for bound in sorted(bounds)}
    return {}


def _described(schema: Schema, text: str) -> Schema:
    return schema | {"description": text} if text else schema
