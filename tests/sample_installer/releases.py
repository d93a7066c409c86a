"""Releases of the components that went wrong, as real ones do: chosen by name, for both modes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sample_installer.config_validator import ConfigValidator
from sample_installer.model_downloader import ModelDownloader


def renamed_fetch() -> None:
    """A refactoring renamed `fetch_file`; who calls it was forgotten."""
    ModelDownloader.download_file = ModelDownloader.fetch_file
    del ModelDownloader.fetch_file


def lost_missing_files() -> None:
    """A merge lost `missing_files`."""
    del ModelDownloader.missing_files


def renamed_validate() -> None:
    """`validate_config` has another name, with another meaning for all that anybody knows."""
    ConfigValidator.validate_configs = ConfigValidator.validate_config
    del ConfigValidator.validate_config


def typo_in_verify() -> None:
    """A typing error inside `verify_file`, which is there."""

    def verify_file(self: ModelDownloader, path: str, where: Path | None = None) -> None:
        wanted = self.ordr.files[path]
        assert wanted, where

    ModelDownloader.verify_file = verify_file


RELEASES: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (renamed_fetch, lost_missing_files, renamed_validate, typo_in_verify)
}
