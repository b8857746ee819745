"""Exports: the records of a collection as a CSV file, written by a durable job with progress.

columns (which fields, and their text) → csv_writer (rows → bytes) → job (page by page, each in one
transaction with the progress); runs keeps where an export stands, service answers requests. What is
written here is read by `crmtransfer.imports` without a mapping.
"""
