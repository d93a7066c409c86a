"""What is to be installed, and where to: a JSON file that a shop would ship."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Order:
    """One order.

    Args:
        install_dir: Where to.
        hub: Address of the Hub.
        repo: The model there.
        files: Size and SHA-256 by path.
        packages: Version by name of what the app needs.
        extras: Names of what makes the app faster.
        wheels: Folder of wheels.
        registrar: Address that is told of each installation, once.
        profile: What a healthy install is, for who judges it; an ordinary installer has none.
    """

    install_dir: Path
    hub: str
    repo: str
    files: dict[str, dict]
    packages: dict[str, str]
    wheels: Path
    registrar: str
    extras: list[str] = field(default_factory=list)
    profile: str = ""

    @classmethod
    def read(cls, path: Path) -> Order:
        told = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            **told | {"install_dir": Path(told["install_dir"]), "wheels": Path(told["wheels"])}
        )

    @property
    def model(self) -> Path:
        return self.install_dir / "model"

    @property
    def python(self) -> Path:
        return self.install_dir / ".venv" / "bin" / "python"
