"""Other variants of a model, by the files that the shipped profiles know."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from modelmedic.errors import ModelmedicError
from modelmedic.profile import loader

_SHOWN = 3


def profiles_with(name: str, size_bytes: int, sha256: str = "", *, but: str = "") -> str:
    """Return the shipped profiles that know a file, as words; "" if none does.

    Args:
        name: The file's name without folders.
        size_bytes: Its size.
        sha256: Its SHA-256 in hex; "" if it was not read.
        but: A profile that is left out.
    """
    found = []
    for each in loader.available():
        try:
            profile = loader.load_profile(each, cwd=Path.cwd())
        except ModelmedicError:
            continue  # not this run's profile
        files = [file for model in profile.models for file in model.files]
        if each != but and any(
            PurePosixPath(file.path).name == name
            and file.is_certain
            and file.size_bytes == size_bytes
            and (not sha256 or (file.sha256 or "").lower() == sha256)
            for file in files
        ):
            found.append(f"profile {each}")
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
