"""The workspace service's tables."""

import sqlalchemy as sa

WORKSPACE = sa.MetaData()
