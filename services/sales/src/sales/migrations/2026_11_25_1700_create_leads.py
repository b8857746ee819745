"""Create leads and their conversions."""

from alembic import op

revision = "2026_11_25_1700"
down_revision = "2026_11_25_1600"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE leads (
            id uuid PRIMARY KEY,
            version integer NOT NULL,
            create_time timestamptz NOT NULL,
            update_time timestamptz NOT NULL,
            delete_time timestamptz,
            creator uuid,
            owner uuid,
            team uuid,
            labels jsonb NOT NULL,
            external_id text COLLATE "C",
            custom_fields jsonb NOT NULL DEFAULT '{}',
            display_name text COLLATE "C" NOT NULL,
            given_name text COLLATE "C",
            family_name text COLLATE "C",
            company text COLLATE "C",
            job_title text COLLATE "C",
            emails jsonb NOT NULL,
            phones jsonb NOT NULL,
            website text COLLATE "C",
            region_code text COLLATE "C",
            source text COLLATE "C",
            campaign uuid,
            utm jsonb NOT NULL,
            rating text COLLATE "C",
            products uuid[] NOT NULL,
            need text COLLATE "C",
            amount numeric(19, 4),
            amount_currency varchar(3),
            next_follow_up_time timestamptz,
            state text COLLATE "C" NOT NULL,
            disqualify_reason text COLLATE "C",
            account uuid,
            contact uuid,
            opportunity uuid,
            convert_time timestamptz,
            conversion_error text COLLATE "C",
            conversion uuid
        )
        """
    )
    for column in ("owner", "team", "state", "next_follow_up_time", "campaign", "account"):
        op.execute(f"CREATE INDEX ix_leads_{column} ON leads ({column}, id)")
    op.execute(
        "CREATE INDEX ix_leads_delete_time ON leads (delete_time, id) WHERE delete_time IS NOT NULL"
    )
    op.execute(
        "CREATE UNIQUE INDEX uq_leads_external_id ON leads (external_id)"
        " WHERE external_id IS NOT NULL"
    )
    op.execute(
        """
        CREATE TABLE lead_conversions (
            id uuid PRIMARY KEY,
            lead uuid NOT NULL CONSTRAINT fk_lead_conversions_lead REFERENCES leads ON DELETE CASCADE,
            state text COLLATE "C" NOT NULL,
            requester uuid,
            account uuid,
            contact uuid,
            opportunity uuid,
            new_account boolean NOT NULL,
            new_contact boolean NOT NULL,
            with_opportunity boolean NOT NULL,
            opportunity_display_name text COLLATE "C",
            pipeline uuid,
            start_time timestamptz NOT NULL,
            error_reason text COLLATE "C"
        )
        """
    )
    op.execute("CREATE INDEX ix_lead_conversions_lead ON lead_conversions (lead)")


def downgrade() -> None:
    op.execute("DROP TABLE lead_conversions")
    op.execute("DROP TABLE leads")
