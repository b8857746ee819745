"""Files attached to records, the same for every collection of every service.

`part` is what a service names in its table of contents. Stands beside the kit and on it (ADR 9).
"""
