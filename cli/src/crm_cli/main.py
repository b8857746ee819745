"""`crm`: each command is a function in a module of its own, imported when it is called."""

from importlib import import_module

import click
import typer
from typer.core import TyperGroup

# Command → module and function.
_COMMANDS = {
    "import": ("crm_cli.import_command", "import_file"),
    "up": ("crm_cli.up", "up"),
}


class _LazyCommands(TyperGroup):
    """Imports a command's module only when it is needed: `crm import` needs no service."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, function = _COMMANDS[cmd_name]
        single = typer.Typer(add_completion=False)
        single.command(cmd_name)(getattr(import_module(module), function))
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
