"""`python -m customer`: runs the customer service."""

from crmkit.runner import main
from customer.service import SERVICE

main(SERVICE)
