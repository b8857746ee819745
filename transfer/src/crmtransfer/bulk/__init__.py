"""Bulk actions: the same change to many records, made by a durable job with progress.

service answers requests; preview shows what would happen; job chooses the records once and changes them in
pieces, each in one transaction with the progress; changes is what happens to one record, values what an
update sets; runs keeps where a bulk action stands.
"""
