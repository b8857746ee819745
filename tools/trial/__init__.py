"""Tries a running system as its users do: over REST, one chapter after the other."""
