"""`python -m marketing`: runs the marketing service."""

from crmkit.runner import main
from marketing.service import SERVICE

main(SERVICE)
