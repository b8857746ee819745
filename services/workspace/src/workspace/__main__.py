"""`python -m workspace`: runs the workspace service."""

from crmkit.runner import main
from workspace.service import SERVICE

main(SERVICE)
