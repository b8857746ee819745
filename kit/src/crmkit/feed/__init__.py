"""The way of an event: outbox, log, broker, consumer."""
