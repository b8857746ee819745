"""Keep what a hidden field says of two records out of the reasons of duplicate sets."""

from alembic import op

revision = "2026_11_25_1704"
down_revision = "2026_11_25_1703"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        UPDATE duplicate_sets SET pairs = (
          SELECT jsonb_agg(pair || jsonb_build_object('reasons', (
            SELECT coalesce(jsonb_agg(reason ORDER BY place), '[]')
            FROM jsonb_array_elements(pair -> 'reasons') WITH ORDINALITY AS r(reason, place)
            WHERE reason ->> 'field' <> 'tax_id')) ORDER BY nth)
          FROM jsonb_array_elements(pairs) WITH ORDINALITY AS p(pair, nth))
        WHERE pairs @> '[{"reasons": [{"field": "tax_id"}]}]'
        """
    )


def downgrade() -> None:
    """What is left out is found again by the next scan of a version that shows it."""
