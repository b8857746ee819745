"""Where sales keeps personal data beside its records."""

from crmkit.personal.declaration import Kept, Personal
from sales.storage.conversion import lead_conversions

PERSONAL = Personal(kept=(Kept(lead_conversions, ("opportunity_display_name",)),))
