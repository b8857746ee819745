"""The marketing service's tables."""

import sqlalchemy as sa

MARKETING = sa.MetaData()
