"""Probes and the facts they return: they read the world, judge nothing, change nothing."""
