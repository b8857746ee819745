"""Imports: files of records, read by a durable job with progress.

uploads (the file's bytes) → csv_reader (rows of text) → mapping, fields, values (rows → messages) →
lookups (what references mean) → batch (messages → records, in one transaction with the progress) →
links (references within the file). job runs them; runs keeps where an import stands.
"""
