"""The customer service's tables."""

import sqlalchemy as sa

CUSTOMER = sa.MetaData()
