"""`python -m reporting`: runs the reporting service."""

from crmkit.runner import main
from reporting.service import SERVICE

main(SERVICE)
