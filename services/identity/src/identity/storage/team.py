"""Where teams are kept."""

import sqlalchemy as sa

from crm.identity.v1 import team_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.statements import TEXT, compile_statement, record_table
from identity.domain.team import Team, refuse_circle
from identity.storage.schema import IDENTITY, TEAM_TREE, one_at_a_time

teams = record_table(
    "teams",
    IDENTITY,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("parent", sa.Uuid),
    sa.Index("uq_teams_display_name", "display_name", unique=True),
    sa.Index("ix_teams_parent", "parent"),
)

_ABOVE = compile_statement(
    sa.text(
        """
        WITH RECURSIVE above AS (
          SELECT id, parent FROM teams WHERE id = :id
          UNION SELECT t.id, t.parent FROM teams t JOIN above ON t.id = above.parent
        ) SELECT id FROM above
        """
    ).bindparams(sa.bindparam("id", type_=sa.Uuid))
)


async def refuse_circles(call: Call, after: Team, before: Team | None) -> None:
    """A team does not stand, over however many steps, below itself."""
    if before is None or after.parent in {None, before.parent}:
        return
    await one_at_a_time(call, TEAM_TREE)
    above = await call.tx.fetch_all(_ABOVE, {"id": after.parent})
    if any(row[0] == after.id for row in above):
        refuse_circle()


TEAMS = Collection(team_pb2.Team, Team, teams, rule=refuse_circles, purged_by_age=False)
