"""`python -m sales`: runs the sales service."""

from crmkit.runner import main
from sales.service import SERVICE

main(SERVICE)
