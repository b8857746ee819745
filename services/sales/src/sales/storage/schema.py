"""The sales service's tables."""

import sqlalchemy as sa

SALES = sa.MetaData()
