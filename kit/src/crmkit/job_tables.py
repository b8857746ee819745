"""The tables of durable jobs and of what they work on: imports, exports, bulk actions.

They are in every service's database; what migrations do to them stands in `platform_tables` and
`platform_changes`.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crmkit.schema import PLATFORM
from crmkit.statements import TEXT, TIMESTAMP

# Durable jobs. A job is due from `due_time` on; a worker that takes it moves `due_time` to the end of its
# lease, so that the job falls due again if the worker dies. It is deleted when it is done.
JOB = sa.Table(
    "job",
    PLATFORM,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("arguments", JSONB, nullable=False),
    sa.Column("state", TEXT, nullable=False),  # QUEUED, FAILED
    sa.Column("due_time", TIMESTAMP, nullable=False),
    sa.Column("lease", sa.Uuid),  # whose turn it is; None while it waits
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("error", TEXT),
    sa.Index("ix_job_due", "due_time", postgresql_where=sa.text("state = 'QUEUED'")),
)

UPLOAD = sa.Table(
    "upload",
    PLATFORM,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("creator", sa.Uuid),
    sa.Column("size_bytes", sa.BigInteger),  # None until the whole file has arrived
    sa.Column("create_time", TIMESTAMP, nullable=False),
)
UPLOAD_CHUNK = sa.Table(
    "upload_chunk",
    PLATFORM,
    sa.Column("upload", sa.Uuid, sa.ForeignKey("upload.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("index", sa.Integer, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
IMPORT = sa.Table(
    "import",
    PLATFORM,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("creator", sa.Uuid),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("end_time", TIMESTAMP),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("upload", sa.Uuid, nullable=False),
    # The import as asked for, as deterministic protobuf: resource, upload, mappings, policies.
    sa.Column("specification", sa.LargeBinary, nullable=False),
    sa.Column("total_rows", sa.BigInteger, nullable=False),
    sa.Column("processed_rows", sa.BigInteger, nullable=False),
    sa.Column("created_count", sa.BigInteger, nullable=False),
    sa.Column("updated_count", sa.BigInteger, nullable=False),
    sa.Column("skipped_count", sa.BigInteger, nullable=False),
    sa.Column("failed_count", sa.BigInteger, nullable=False),
    sa.Column("warning_count", sa.BigInteger, nullable=False),
    sa.Column("error_message", TEXT),
    sa.Column("error_reason", TEXT),
    # What the credential was limited to that it was begun with, as patterns; None: nothing.
    sa.Column("limits", sa.ARRAY(TEXT)),
    sa.Index("ix_import_creator", "creator", "id"),
)
IMPORT_ISSUE = sa.Table(
    "import_issue",
    PLATFORM,
    sa.Column("import", sa.Uuid, sa.ForeignKey("import.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("row", sa.BigInteger, primary_key=True),
    sa.Column("index", sa.SmallInteger, primary_key=True),
    sa.Column("field", TEXT, nullable=False),
    sa.Column("reason", TEXT, nullable=False),
    sa.Column("message", TEXT, nullable=False),
    sa.Column("severity", TEXT, nullable=False),
)
# Rows that an import refused, as they stood in the file; row 0 is the header. Kept for some days.
IMPORT_REJECTED_ROW = sa.Table(
    "import_rejected_row",
    PLATFORM,
    sa.Column("import", sa.Uuid, sa.ForeignKey("import.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("row", sa.BigInteger, primary_key=True),
    sa.Column("cells", sa.ARRAY(TEXT), nullable=False),
)
EXPORT = sa.Table(
    "export",
    PLATFORM,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("creator", sa.Uuid),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("end_time", TIMESTAMP),
    sa.Column("state", TEXT, nullable=False),
    # The export as asked for, as deterministic protobuf: resource, filter, order, fields.
    sa.Column("specification", sa.LargeBinary, nullable=False),
    sa.Column("page_token", TEXT),  # where the next page begins; None before the first
    sa.Column("total_rows", sa.BigInteger),
    sa.Column("processed_rows", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("chunk_count", sa.Integer, nullable=False),
    sa.Column("error_message", TEXT),
    # What the credential was limited to that it was begun with, as patterns; None: nothing.
    sa.Column("limits", sa.ARRAY(TEXT)),
    sa.Index("ix_export_creator", "creator", "id"),
)
EXPORT_CHUNK = sa.Table(
    "export_chunk",
    PLATFORM,
    sa.Column("export", sa.Uuid, sa.ForeignKey("export.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("index", sa.Integer, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
BULK_ACTION = sa.Table(
    "bulk_action",
    PLATFORM,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("creator", sa.Uuid),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("end_time", TIMESTAMP),
    sa.Column("state", TEXT, nullable=False),
    # What was asked for, as deterministic protobuf: resource, action, filter, values.
    sa.Column("specification", sa.LargeBinary, nullable=False),
    sa.Column("reverts", sa.Uuid),
    sa.Column("correlation_id", TEXT, nullable=False),
    sa.Column("total_rows", sa.BigInteger),  # None until the records are chosen
    sa.Column("processed_rows", sa.BigInteger, nullable=False),
    sa.Column("changed_count", sa.BigInteger, nullable=False),
    sa.Column("unchanged_count", sa.BigInteger, nullable=False),
    sa.Column("failed_count", sa.BigInteger, nullable=False),
    sa.Column("error_message", TEXT),
    # What the credential was limited to that it was begun with, as patterns; None: nothing.
    sa.Column("limits", sa.ARRAY(TEXT)),
    sa.Index("ix_bulk_action_creator", "creator", "id"),
)
# The records of a bulk action, numbered from 1.
BULK_ACTION_ROW = sa.Table(
    "bulk_action_row",
    PLATFORM,
    sa.Column(
        "bulk_action",
        sa.Uuid,
        sa.ForeignKey("bulk_action.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("row", sa.BigInteger, primary_key=True),
    sa.Column("record", sa.Uuid, nullable=False),
    sa.Column("reverted_version", sa.BigInteger),  # the version that a revert takes back
    sa.Column("outcome", TEXT),  # CHANGED, UNCHANGED, FAILED; None until it is dealt with
    sa.Column("version", sa.BigInteger),  # what a changed record became
    sa.Column("field", TEXT),
    sa.Column("reason", TEXT),
    sa.Column("message", TEXT),
    sa.Index(
        "ix_bulk_action_row_failed",
        "bulk_action",
        "row",
        postgresql_where=sa.text("outcome = 'FAILED'"),
    ),
)
