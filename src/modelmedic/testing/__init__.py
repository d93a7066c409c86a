"""Real specimens and real servers on loopback: for tests, and for the demo profile."""
