"""Asking pip of a target Python: what it would install, wheels, and a stage. It changes no target.

`modelmedic.installer.pip.Installer` runs it, `report` reads what it would install, `words` says in
types why it would not.
"""
