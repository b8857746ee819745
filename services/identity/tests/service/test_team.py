"""Teams over gRPC: a tree."""

from typing import TYPE_CHECKING

import grpc
import pytest

from crm.identity.v1 import team_pb2
from crmkit.testing.harness import details_of

if TYPE_CHECKING:
    from conftest import Identity

Team = team_pb2.Team


async def test_a_team_never_stands_below_itself(identity: "Identity") -> None:
    """INVARIANT: teams are a tree."""
    admin = await identity.administrator()
    names: list[str] = []
    for title in ("World", "Europe", "Bonn"):
        parent = names[-1] if names else ""
        made = await identity.teams.CreateTeam(
            team_pb2.CreateTeamRequest(team=Team(display_name=title, parent=parent)),
            metadata=admin.metadata,
        )
        names.append(made.name)
    for below in names:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await identity.teams.UpdateTeam(
                team_pb2.UpdateTeamRequest(team=Team(name=names[0], parent=below)),
                metadata=admin.metadata,
            )
        assert details_of(refused.value)["reason"] == "CIRCLE"
        assert details_of(refused.value)["fields"] == ["team.parent"]
