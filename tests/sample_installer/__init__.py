"""An ordinary installer of a small model, as somebody else would write it: five components.

``python -m sample_installer ORDER --plain`` runs it as it is; ``--reliable`` with the library.
"""
