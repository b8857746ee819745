"""`crm demo`: a company that never was, to try the system with.

names (what things are called) → company (who works there, what they sell, what happened) → filling (the
company into a running system, by its public interfaces only).
"""
