"""Measurements, side by side in one run: ours against what PostgreSQL and gRPC alone can do."""
