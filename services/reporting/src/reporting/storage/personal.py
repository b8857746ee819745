"""Where reporting keeps personal data: nowhere. Facts are made from events, which hold none."""

from crmkit.personal.declaration import Personal

PERSONAL = Personal(
    nothing=frozenset(
        {
            "fact_opportunity", "fact_opportunity_product", "fact_ticket", "dim_team", "dim_label",
            "dim_merge", "rebuild_history",
        }
    )
)  # fmt: skip
