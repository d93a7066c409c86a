"""The support bundle: one masked archive for whoever helps, and how to read a stranger's."""
