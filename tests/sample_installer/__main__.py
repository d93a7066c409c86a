"""Run the installer as its own process: ``python -m sample_installer ORDER --plain|--reliable``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sample_installer import releases
from sample_installer.config_validator import ConfigValidator
from sample_installer.dependency_manager import DependencyManager
from sample_installer.error_handler import ErrorHandler
from sample_installer.main_installer import MainInstaller
from sample_installer.model_downloader import ModelDownloader
from sample_installer.order import Order


def main() -> int:
    parser = argparse.ArgumentParser(prog="sample_installer")
    parser.add_argument("order", type=Path)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--plain", action="store_true")
    how.add_argument("--reliable", action="store_true")
    parser.add_argument("--release", choices=releases.RELEASES, help="a release that went wrong")
    options = parser.parse_args()
    order = Order.read(options.order)
    if options.release:
        releases.RELEASES[options.release]()
    return (install_plainly if options.plain else install_reliably)(order)


def install_plainly(order: Order) -> int:
    errors = ErrorHandler(order.install_dir.parent / "install.log")
    parts = DependencyManager(order), ModelDownloader(order), ConfigValidator(order)
    try:
        MainInstaller(order, errors, *parts).install()
    except Exception as error:  # noqa: BLE001 - the last words of an ordinary installer
        errors.report(error)
        return 1
    sys.stdout.write("complete\n")
    return 0


def install_reliably(order: Order) -> int:
    from sample_installer import reliable

    return reliable.install(order)


if __name__ == "__main__":
    raise SystemExit(main())
