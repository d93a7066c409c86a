"""The parser of the command line, and the exit codes of its commands (docs/exit-codes)."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, NoReturn

EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OWN_FAULT, EXIT_USAGE = 0, 1, 2, 3, 4


class Parser(argparse.ArgumentParser):
    """Ends with our exit code for wrong use: argparse's own, 2, means interrupted here."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and end."""
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]  # noqa: SLF001 - argparse names it nowhere else
else:
    Commands = argparse.Action
