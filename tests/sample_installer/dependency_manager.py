"""Makes the environment of the app and puts its packages there."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

from sample_installer.order import Order


class DependencyManager:
    """One environment, filled by pip from a folder of wheels."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.env = order.install_dir / ".venv"

    def make_environment(self) -> None:
        """Make the environment, unless it is there."""
        if not self.order.python.exists():
            command = [sys.executable, "-I", "-m", "venv", "--without-pip", str(self.env)]
            subprocess.run(command, check=True, timeout=120)

    def installed(self) -> dict[str, str]:
        """Return version by name of what is in the environment."""
        site = [str(path) for path in self.env.glob("lib/python*/site-packages")]
        return {each.name: each.version for each in metadata.distributions(path=site)}

    def install_packages(self) -> None:
        """Install what is not there."""
        have = self.installed()
        lines = [f"{n}=={v}" for n, v in self.order.packages.items() if n not in have]
        if lines:
            self._pip(lines)

    def check_packages(self) -> None:
        """Prove that each package has its version and can be imported.

        Raises:
            ImportError: One has another version or cannot be imported.
        """
        have = self.installed()
        for name, version in self.order.packages.items():
            if have.get(name) != version:
                told = f"{name} has version {have.get(name)}, required is {version}"
                raise ImportError(told, name=name)
            command = [str(self.order.python), "-I", "-B", "-c", f"import {name}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            if done.returncode:
                raise ImportError(done.stderr.strip().rpartition("\n")[2], name=name)

    def install_extras(self) -> list[str]:
        """Install what makes the app faster; return its names."""
        if self.order.extras:
            self._pip(self.order.extras)
        return self.order.extras

    def _pip(self, lines: list[str]) -> None:
        command = [sys.executable, "-m", "pip", "--python", str(self.order.python)]
        command += ["--disable-pip-version-check", "--no-input", "--quiet", "--isolated", "install"]
        places = ["--no-index", f"--find-links={self.order.wheels}"]
        done = subprocess.run(
            [*command, *places, *lines], capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            raise RuntimeError(f"pip failed: {done.stderr.strip()}")
