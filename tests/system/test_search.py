"""Searching as a front end does it: over REST, through the gateway."""

from uuid import uuid4

import httpx

from .conftest import RunningSystem


async def test_a_salesperson_finds_their_own_customers_however_spelt(crm: RunningSystem) -> None:
    """A query may hold whatever a URL can carry; what belongs to others is not found."""
    _, ben = await crm.person("Sales")
    _, others = await crm.person("Sales")
    mark = uuid4().hex[:6].translate(str.maketrans("0123456789", "ghijklmnop"))
    phone = {"number": "+49 30 5557701"}
    made = await ben.post(
        "/v1/contacts", {"given_name": "Jürgen", "family_name": f"Größe{mark}", "phones": [phone]}
    )
    for query in (f"juergen grosse{mark}", f"GRÖSSE{mark}", f"Jürgne Größe{mark}", "030/5557701"):
        (result,) = (await ben.get("/v1/customer:search", query=query))["results"]
        assert (result["record"], result["kind"]) == (made["name"], "contacts")
        assert result["matches"][0]["highlights"]
        assert await others.get("/v1/customer:search", query=query) == {
            "results": [], "next_page_token": "",
        }  # fmt: skip
    _, analyst = await crm.person("Read-only")
    answer = await analyst.get("/v1/customer:search", query=f"größe{mark}", kinds="contacts")
    assert [result["record"] for result in answer["results"]] == [made["name"]]


async def test_a_query_that_says_nothing_is_refused_over_rest(crm: RunningSystem) -> None:
    for query in ("", "   ", "x" * 257):
        answer = await crm.admin.http.get("/v1/customer:search", params={"query": query})
        assert answer.status_code == httpx.codes.BAD_REQUEST, answer.text
        details = answer.json()["details"]
        fields = [v["field"] for d in details for v in d.get("field_violations", [])]
        assert fields == ["query"]
