"""Make attachments versions of documents."""

from crmkit.children.migrations import make_attachments_versions, make_versions_attachments

revision = "2026_11_25_1701"
down_revision = "2026_11_25_1700"
branch_labels = None
depends_on = None


def upgrade() -> None:
    make_attachments_versions()


def downgrade() -> None:
    make_versions_attachments()
