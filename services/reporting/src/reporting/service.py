"""The reporting service's table of contents."""

from pathlib import Path

from crmkit.service import Service
from reporting.projections.handlers import HANDLERS
from reporting.projections.rebuild import JOB, rebuild, rebuild_diverged
from reporting.rpc.metric import MetricService
from reporting.rpc.projection import ProjectionService
from reporting.storage.personal import PERSONAL

SERVICE = Service(
    name="reporting",
    migrations=Path(__file__).parent / "migrations",
    servicers={
        "crm.reporting.v1.MetricService": MetricService(),
        "crm.reporting.v1.ProjectionService": ProjectionService(),
    },
    consumes=HANDLERS,
    jobs={JOB: rebuild},
    loops=[rebuild_diverged],
    personal=PERSONAL,
)
