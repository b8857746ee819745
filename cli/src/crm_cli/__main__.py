"""`python -m crm_cli`: the same as `crm`."""

from crm_cli.main import app

app()
