"""Help for tests: real servers as pytest fixtures (`plugin`), waiting with a deadline, ports."""

from crmkit.ports import free_port
from crmkit.testing.polling import eventually, eventually_sync
from crmkit.testing.postgres import TestServer
from crmkit.testing.rabbitmq import RabbitMQ

__all__ = ["RabbitMQ", "TestServer", "eventually", "eventually_sync", "free_port"]
