"""The workspace service as a front end meets it: over REST, through the gateway."""

import httpx

from .conftest import RunningSystem


async def test_a_view_is_saved_chosen_and_refused(crm: RunningSystem) -> None:
    """INVARIANT: attack rows 2 and 51: what a filter cannot be is a 400 naming the field."""
    view = await crm.admin.post(
        "/v1/savedViews",
        {
            "resource": "opportunities",
            "display_name": "Large ones",
            "filter": "amount > 10000 AND state = OPEN",
            "layout": "BOARD",
        },
    )
    assert (view["layout"], view["visibility"]) == ("BOARD", "PRIVATE")
    assert (await crm.admin.post(f"/v1/{view['name']}:choose"))["default_for_caller"] is True
    listed = await crm.admin.get("/v1/savedViews", filter='resource = "opportunities"')
    assert view["name"] in [v["name"] for v in listed["saved_views"]]
    for attack in ("OR 1=1)--", "!!python/object:x {}", "(" * 1000, "password_hash = 1"):
        body = {"resource": "opportunities", "display_name": "x", "filter": attack}
        refused = await crm.admin.http.post("/v1/savedViews", json=body)
        assert refused.status_code == httpx.codes.BAD_REQUEST
        assert "saved_view.filter" in refused.text
