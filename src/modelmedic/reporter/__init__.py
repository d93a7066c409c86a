"""The Health Reporter: what the history says about installations, and what follows from it."""
