"""Secrets that are planted into runs, and looked for in all that comes out of them."""
