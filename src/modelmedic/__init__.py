"""modelmedic: find out why the installation of a large local AI model fails, and repair it."""

__version__ = "0.1.0"
