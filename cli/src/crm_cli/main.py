"""`crm`: each command is a function in a module of its own, imported when it is called."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

# Command → module and function, or a group of commands.
_COMMANDS = {
    "bulk": ("crm_cli.bulk_command", "app"),
    "demo": ("crm_cli.demo.command", "demo"),
    "events": ("crm_cli.operations", "events"),
    "export": ("crm_cli.export_command", "export_file"),
    "import": ("crm_cli.import_command", "import_file"),
    "keys": ("crm_cli.operations", "keys"),
    "migrate": ("crm_cli.operations", "migrate"),
    "parked": ("crm_cli.parked", "app"),
    "serve": ("crm_cli.operations", "serve"),
    "up": ("crm_cli.up", "up"),
}


class _LazyCommands(TyperGroup):
    """Imports a command's module only when it is needed: `crm import` needs no service."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return sorted(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, function = _COMMANDS[cmd_name]
        found = getattr(import_module(module), function)
        if isinstance(found, typer.Typer):
            group = typer.main.get_command(found)
            group.name = cmd_name
            return group
        single = typer.Typer(add_completion=False)
        single.command(cmd_name)(found)
        return typer.main.get_command(single)


app = typer.Typer(
    cls=_LazyCommands,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def crm() -> None:
    """Runs, fills and looks after a CRM system."""
