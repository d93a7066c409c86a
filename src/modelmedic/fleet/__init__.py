"""Many machines at once, from imported run records: who is sick, since when, and why."""
