"""The Diagnostic Monitor: a light process of its own that watches a machine and an install."""
