"""Two imports of one file at the same time, by two workers of a real service."""

import pytest
import sqlalchemy as sa

from crmkit.statements import compile_statement
from crmkit.testing.harness import ServiceUnderTest

from .imports import Import, ended, started


@pytest.mark.parametrize("column", ["display_name", "external_id,display_name"])
async def test_two_imports_of_one_file_at_the_same_time_make_each_record_once(
    customer: ServiceUnderTest, column: str
) -> None:
    """INVARIANT: whoever comes second finds what the first has written, by natural key as by external id."""
    ada = await customer.person("customer.*")
    keyed = column.startswith("external_id")
    prefix = "Twin by id" if keyed else "Twin by name"
    lines = (f"{prefix} {n},{prefix} {n}" if keyed else f"{prefix} {n}" for n in range(3000))
    content = "\n".join([column, *lines, ""]).encode()
    begun = [await started(customer, ada, content) for _ in range(2)]
    runs = [await ended(customer, ada, run) for run in begun]
    assert [run.state for run in runs] == [Import.SUCCEEDED] * 2, [r.error_message for r in runs]
    # They did work at the same time, or this test would show nothing.
    assert runs[1].create_time.ToDatetime() < runs[0].end_time.ToDatetime()
    assert sum(run.created_count for run in runs) == 3000
    assert sum(run.skipped_count for run in runs) == 3000
    assert sum(run.failed_count for run in runs) == 0
    count = compile_statement(
        sa.text(
            "SELECT count(*), count(DISTINCT display_name) FROM accounts WHERE display_name LIKE :p"
        )
    )
    assert await customer.database.fetch_one(count, {"p": f"{prefix} %"}) == (3000, 3000)
