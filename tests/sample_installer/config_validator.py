"""Writes the app's settings, and judges those that are there."""

from __future__ import annotations

import json

from sample_installer.order import Order

DEFAULTS = {"steps": 20, "size": "64*64", "seed": 0, "output_folder": "outputs"}
SIZES = ("32*32", "64*64", "128*128")


class ConfigValidator:
    """The file ``settings.json``."""

    def __init__(self, order: Order) -> None:
        self.path = order.install_dir / "settings.json"

    def write_config(self) -> None:
        """Write the defaults; a person's settings stay."""
        if not self.path.exists():
            self.path.write_text(json.dumps(DEFAULTS, indent=2) + "\n", encoding="utf-8")

    def validate_config(self) -> None:
        """Prove that the app could start with the settings.

        Raises:
            ValueError: It could not.
        """
        settings = json.loads(self.path.read_text(encoding="utf-8"))
        steps = settings.get("steps")
        if not isinstance(steps, int) or not 1 <= steps <= 100:
            raise ValueError(f"settings.json: steps is {steps!r}, expected 1 to 100")
        if settings.get("size") not in SIZES:
            raise ValueError(f"settings.json: size is {settings.get('size')!r}, not in {SIZES}")
