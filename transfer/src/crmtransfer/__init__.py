"""Long runs over many records: imports, exports, bulk actions, the same for every collection.

`part` is what a service names in its table of contents. Stands beside the kit and on it (ADR 7).
"""
