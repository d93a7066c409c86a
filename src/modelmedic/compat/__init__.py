"""Which driver, card, torch build and packages go together: the table, and judging by it.

`modelmedic.compat.oracle` is the door. Importing this package loads nothing.
"""
