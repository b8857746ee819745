"""Every service of the system, by name. Only the command line imports more than one."""

from crmkit.service import Service
from crmkit.settings import ServiceSettings

NAMES = ("identity", "customer", "sales", "marketing", "support", "reporting")


def service(name: str) -> tuple[Service, type[ServiceSettings]]:
    """A service's table of contents and its settings; imports that service alone."""
    match name:
        case "identity":
            from identity.service import SERVICE, IdentitySettings  # noqa: PLC0415

            return SERVICE, IdentitySettings
        case "customer":
            from customer.service import SERVICE  # noqa: PLC0415
        case "sales":
            from sales.service import SERVICE  # noqa: PLC0415
        case "marketing":
            from marketing.service import SERVICE  # noqa: PLC0415
        case "support":
            from support.service import SERVICE  # noqa: PLC0415
        case "reporting":
            from reporting.service import SERVICE  # noqa: PLC0415
        case _:
            msg = f"there is no service {name}; the services are {', '.join(NAMES)}"
            raise LookupError(msg)
    return SERVICE, ServiceSettings
