"""The support service's tables."""

import sqlalchemy as sa

SUPPORT = sa.MetaData()
