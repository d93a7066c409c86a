"""From what an installer says of a failure to the checks that judge it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from modelmedic.facts.packages import SAME_MODULE
from modelmedic.profile.model import ModelFile, Profile

_GB = 1_000_000_000  # as the rule of TimeoutManager counts
# "weights.sha256" or "weights.sha256[model/a.pth]", but not the file "weights.safetensors".
_CHECK = re.compile(
    r"(?<![\w./-])weights\.(?!(?:safetensors|sft|pth?|bin|ckpt|gguf|json)\b)[a-z0-9*-]+"
    r"(?:\[[^\]]+\])?(?![\w/-]|\.\w)"
)
# Modules whose distribution has another name, beside those of SAME_MODULE.
# Source: the metadata of these distributions on PyPI.
_DISTRIBUTIONS: Mapping[str, str] = MappingProxyType(
    {
        "PIL": "pillow",
        "bs4": "beautifulsoup4",
        "flash_attn": "flash-attn",
        "google.protobuf": "protobuf",
        "skimage": "scikit-image",
        "sklearn": "scikit-learn",
        "yaml": "pyyaml",
    }
)
# What of an environment tells whether a package can be used; the parameter is its distribution.
_OF_PACKAGE = ("python.package", "python.imports")
_OF_ALL_PACKAGES = ("python.target", "python.files", "python.owners", "python.conflicts")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is meant.

    Args:
        checks: A selection, as ``--checks`` takes it.
        judged_by: The part of the checks that counts; empty: all.
        names: What failed, by all its names; empty where every check counts.
        is_judged: Whether a check of the profile is about just that.
        sizes_gb: Of the model files, each.
    """

    checks: str
    judged_by: str = ""
    names: tuple[str, ...] = ()
    is_judged: bool = True
    sizes_gb: tuple[float, ...] = ()


def of_models(issues: Sequence[str], profile: Profile) -> Subject:
    """Return the checks of the files, checks and models that issues name.

    An issue that names nothing of the profile means all model files: what was wrong must not count
    as recovered because it was not looked at.
    """
    parts: list[str] = []
    files: list[ModelFile] = []
    for issue in issues:
        named = _files_in(issue, profile)
        checks = [_bare(check, named) for check in _CHECK.findall(issue)]
        if not named and not checks:
            named = _files_of_model(issue, profile)
        if not named and not checks:
            return _all_models(profile)
        files += named
        parts += [
            f"{check}[{file.path}]" for check in checks or ["weights.*"] for file in named
        ] or checks
    return (
        Subject(",".join(dict.fromkeys(parts)), sizes_gb=_gb(files))
        if parts
        else _all_models(profile)
    )


def of_dependency(dependency: str, profile: Profile) -> Subject:
    """Return the checks of a package, named as in an import ("cv2") or a requirement."""
    given = re.split(r"[\s\[<>=!~;@(]", dependency.strip(), maxsplit=1)[0]
    wanted = _normalised(given)
    own = {each.name for each in profile.python.requirements}
    top = given.partition(".")[0]
    also = {*SAME_MODULE.get(top, ()), _DISTRIBUTIONS.get(given, ""), _DISTRIBUTIONS.get(top, "")}
    meant = sorted(({wanted, _normalised(top)} | {_normalised(name) for name in also}) & own)
    names = tuple(dict.fromkeys([given, wanted, *meant]))
    if not meant:
        return Subject("python", names=names, is_judged=False)
    parts = [f"{check}[{name}]" for check in _OF_PACKAGE for name in meant]
    return Subject(",".join([*parts, *_OF_ALL_PACKAGES]), names=names)


def of_network(context: Mapping[str, Any], profile: Profile) -> Subject:
    """Return the checks of the way to a server, and of the model files that were to come from it.

    Args:
        context: ``url`` or ``endpoint`` (a name of the profile) says to which server, ``files``
            which model files were to be fetched; without them it is every server of the profile.
        profile: What a healthy install is.
    """
    meant = _endpoints(context, profile)
    ways = [f"network.*[{name}]" for name in meant] + ["network.proxy"] if meant else ["network"]
    given = context.get("files", ())
    files = [given] if isinstance(given, str) else [str(each) for each in given]
    models = of_models(files, profile) if files else Subject("")
    checks = ",".join(filter(None, [*ways, models.checks]))
    other = _place(str(context.get("url", "")))
    if other and not meant and not files:
        # No check of the profile asks this server: that the others are well proves nothing of it.
        return Subject(checks, names=(f"{other[0]}:{other[1]}", other[0]), is_judged=False)
    return Subject(checks, models.checks, sizes_gb=models.sizes_gb)


def _endpoints(context: Mapping[str, Any], profile: Profile) -> list[str]:
    name, place = context.get("endpoint"), _place(str(context.get("url", "")))
    return [
        each.name
        for each in profile.endpoints
        if each.name == name or (place and _place(each.url) == place)
    ]


def _place(url: str) -> tuple[str, int | None] | None:
    """Return host and port of an address; None for none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname else None


def _bare(check: str, named: Iterable[ModelFile]) -> str:
    """Return a check's id without its parameter when the parameter is a file that is named."""
    return check.partition("[")[0] if any(file.path in check for file in named) else check


def _files_in(issue: str, profile: Profile) -> list[ModelFile]:
    files = [file for model in profile.models for file in model.files]
    whole = [file for file in files if _has_word(issue, file.path)]
    return whole or [file for file in files if _has_word(issue, file.path.rpartition("/")[2])]


def _files_of_model(issue: str, profile: Profile) -> list[ModelFile]:
    named = [model for model in profile.models if _has_word(issue, model.name)]
    return [file for model in named for file in model.files]


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-]|\.\w)", text) is not None


def _all_models(profile: Profile) -> Subject:
    files = [file for model in profile.models for file in model.files]
    return Subject("weights", sizes_gb=_gb(files))


def _gb(files: Iterable[ModelFile]) -> tuple[float, ...]:
    return tuple((file.size_bytes or 0) / _GB for file in dict.fromkeys(files))


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
