"""Plumbing that every service calls; it knows no noun of the domain."""

import os

# Programs that we start replace the copy of our process at once. gRPC's handlers at a fork would run in
# that copy first, and break it where gRPC is at work. gRPC reads this when it is first used.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
