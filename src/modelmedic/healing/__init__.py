"""Classify a failure, choose its repairs, apply them under journal, lock and budget."""
