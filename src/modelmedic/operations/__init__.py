"""The closed set of changes modelmedic can make, each with its undo."""
