"""What the pool and its shadow processes agree on: exit codes, and the size of a batch."""

from __future__ import annotations

LARGEST_BATCH = 512  # scored in 0.05 s, written in 0.01 s: short enough a time to hold SQLite's one lock

# How the pool tells a challenger's fault from others. Everything else that ends the child is the challenger's.
ENDED, LEASE_LOST, RECORD_UNAVAILABLE, UNLOADABLE = 0, 3, 75, 4
