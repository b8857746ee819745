"""An installation that is older than timelines: what others did before is read again, once."""

from pathlib import Path

import sqlalchemy as sa

from crm.sales.v1 import opportunity_pb2 as sales
from crm.support.v1 import ticket_pb2 as support
from crmkit import migrations
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.statements import Statement, compile_statement
from crmkit.testing.polling import eventually
from crmkit.testing.postgres import TestServer
from customer.service import SERVICE
from customer.usecases.read_past import JOB, read_past

from .timelines import START, Watched, changed, opportunity, ticket, watched_service

ALL = "*"
_EVERYTHING = Statement("SELECT e.* FROM timeline_entries e ORDER BY e", {})
_RECORDS = Statement("SELECT r.* FROM timeline_records r ORDER BY r", {})
_FORGET = [
    compile_statement(sa.text(f"DELETE FROM {table}"))
    for table in ("timeline_entries", "timeline_records", "timeline_sources")
]
_JOB = Statement("SELECT arguments FROM job WHERE kind = 'read_past'", {})


def _migration() -> Path:
    return next(SERVICE.migrations.glob("*_create_timelines.py"))


def _before() -> str:
    """The migration before timelines."""
    text = _migration().read_text()
    return text.partition('down_revision = "')[2].partition('"')[0]


async def _what_happened(watched: Watched) -> str:
    """A history in two services; answers the account that it is about."""
    ada = await watched.customer.person(ALL)
    account = await watched.account(ada)
    deal, request = opportunity(account), ticket(account=account)
    await watched.hear(sales.OpportunityCreated(opportunity=deal), ada)
    await watched.hear(support.TicketCreated(ticket=request), ada)
    await watched.hear(sales.OpportunityWon(opportunity=changed(deal, state="WON")), ada)
    gone = opportunity(account)
    await watched.hear(sales.OpportunityCreated(opportunity=gone), ada)
    await watched.hear(sales.OpportunityPurged(opportunity=gone), ada)
    await watched.interaction(ada, related=[deal.name], occur_time=START)
    await watched.level()
    return account


async def test_what_was_done_before_there_were_timelines_is_in_them(postgres: TestServer) -> None:
    """INVARIANT: entries read from the feeds again are those that were made when it happened."""
    async with watched_service(postgres) as watched:
        await _what_happened(watched)
        database = watched.customer.database
        made = await database.fetch_all(_EVERYTHING), await database.fetch_all(_RECORDS)
        assert len(made[0]) > 5
        for statement in _FORGET[1:]:
            await database.execute(statement)
        others = compile_statement(
            sa.text("DELETE FROM timeline_entries WHERE source <> 'customer'")
        )
        await database.execute(others)
        await database.execute(
            compile_statement(
                sa.text(
                    "INSERT INTO timeline_sources VALUES ('sales', 0, false), ('support', 0, false)"
                )
            )
        )
        home = watched.customer.running.home
        for _ in range(2):  # a job runs at least once
            async with database.transaction() as tx:
                await read_past(new_call(home, service_principal("customer"), tx), {"again": True})
        again = await database.fetch_all(_EVERYTHING), await database.fetch_all(_RECORDS)
        assert again == made


async def test_an_upgrade_promises_to_read_what_was_applied_before(postgres: TestServer) -> None:
    """The migration's own job does it; until it has, the page says so. A new installation has no past."""
    url = postgres.new_database(
        postgres.template_database(
            "customer_before_timelines",
            lambda url: migrations.migrate(url, SERVICE.migrations, _before()),
        )
    )
    cursors = sa.text(
        "INSERT INTO consumer_cursor (source, applied_seq, applied_chain, update_time)"
        " VALUES ('sales', 7, '', now()), ('support', 0, '', now()), ('identity', 9, '', now())"
    )
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(cursors)
    migrations.migrate(url, SERVICE.migrations)
    with engine.begin() as connection:
        past = connection.execute(
            sa.text("SELECT source, read_seq, complete FROM timeline_sources")
        )
        assert past.fetchall() == [("sales", 0, False)]
        jobs = connection.execute(sa.text("SELECT kind, state FROM job")).fetchall()
    engine.dispose()
    postgres.drop(url)
    assert jobs == [(JOB, "QUEUED")]


async def test_the_job_ends_and_comes_back_once_more(postgres: TestServer) -> None:
    """A process of the release before may have applied events while the first reading went on."""
    async with watched_service(postgres) as watched:
        account = await _what_happened(watched)
        ada = await watched.customer.person(ALL)
        database = watched.customer.database
        for statement in (*_FORGET, *_promises()):
            await database.execute(statement)
        view = await watched.view(ada, account)
        assert [s.source for s in view.sources if s.reading_past] in ([], ["sales"])

        async def again() -> bool:
            return await database.fetch_one(_JOB) == ({"again": True},)

        await eventually(again)
        view = await watched.view(ada, account)
        assert (view.sales.won_count, any(s.reading_past for s in view.sources)) == (1, False)


def _promises() -> list[Statement]:
    return [
        compile_statement(sa.text("INSERT INTO timeline_sources VALUES ('sales', 0, false)")),
        compile_statement(
            sa.text(
                "INSERT INTO job (id, kind, arguments, state, due_time, attempts, failures) VALUES"
                " (gen_random_uuid(), 'read_past', '{}', 'QUEUED', now(), 0, 0)"
            )
        ),
    ]
