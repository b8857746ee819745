"""Every service of the system, by name. Only the command line imports more than one."""

from importlib import import_module

from crmkit.service import Service

NAMES = ("identity", "workspace", "customer", "sales", "marketing", "support", "reporting")


def service(name: str) -> Service:
    """A service's table of contents; imports that service alone.

    Raises:
        LookupError: There is no such service; the message names those there are.
    """
    if name not in NAMES:
        msg = f"there is no service {name}; the services are {', '.join(NAMES)}"
        raise LookupError(msg)
    declared: Service = import_module(f"{name}.service").SERVICE
    return declared
