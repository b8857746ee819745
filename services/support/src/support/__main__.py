"""`python -m support`: runs the support service."""

from crmkit.runner import main
from support.service import SERVICE

main(SERVICE)
