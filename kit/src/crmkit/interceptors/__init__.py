"""What happens to every request around its method, outermost first.

context (request id, deadline, logs, metrics) → errors → authentication → permission → validation →
idempotency and unit of work → method. The chain is composed once per method when the server starts.
"""
