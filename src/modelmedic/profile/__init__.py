"""Profiles: what a healthy install is, as data."""
