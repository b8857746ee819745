"""`python -m identity`: runs the identity service."""

from crmkit.runner import main
from identity.service import SERVICE

main(SERVICE)
