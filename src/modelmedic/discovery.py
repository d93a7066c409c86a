"""What a run examines when it was not said: install folder, target Python, stage."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelmedic import rooms
from modelmedic.context import Context
from modelmedic.errors import BadInstall
from modelmedic.facts.places import environment_in, is_folder, is_there, python_in
from modelmedic.profile.model import ModelRepo, Profile
from modelmedic.text import printable

if TYPE_CHECKING:
    from modelmedic.facts.cache_layout import Cache

# Files with these endings hold weights; a config.json or README.md lies in any folder.
_WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".gguf", ".onnx")


def discover(
    *,
    profile: Profile,
    install_dir: str | None,
    target_python: str | None,
    stage: str,
    deep: bool,
    offline: bool,
    run_id: str,
    command: str,
    cwd: Path,
    environ: Mapping[str, str],
) -> Context:
    """Return the subject of a run, with a reason for each choice.

    Looks at a few paths by name; lists no folder and opens no file, but those of a download cache
    that say which snapshot is in use.

    Args:
        profile: What a healthy install is.
        install_dir: The folder given by option, environment or ini; None or "": none was.
        target_python: Interpreter or environment folder given; None or "": none was.
        stage: "auto", "preflight" or "installed".
        deep: Whether whole files are hashed.
        offline: Whether nothing outside this machine is asked.
        run_id: Unique id of this run.
        command: How this run was started, without mode options.
        cwd: The current folder, absolute.
        environ: The environment: VIRTUAL_ENV, and PATH for a target given by its bare name.

    Raises:
        BadInstall: The install folder cannot be one, or ``stage`` is "installed" and there is
            none, or a given path has a NUL character.
    """
    install, install_reason = _find_install(profile, install_dir, cwd)
    cache = _find_cache(profile, install)
    if cache is not None:
        install, install_reason, profile = _in_cache(cache, install_reason, profile)
    place = install or cwd
    target, target_reason = _find_target(target_python, install, cwd, environ)
    folders = cache.folders if cache else ()
    folders = folders or tuple(model_folder(place, model) for model in profile.models)
    chosen, stage_reason = _find_stage(stage, profile, install, folders if cache else ())
    return Context(
        profile=profile,
        place=place,
        install_dir=install,
        install_reason=install_reason,
        target_python=target,
        target_reason=target_reason,
        stage=chosen,
        stage_reason=stage_reason,
        deep=deep,
        offline=offline,
        run_id=run_id,
        state_dir=rooms.state_dir(),
        command=command,
        model_folders=folders,
        store=cache.kind if cache else "",
        own_folders=cache.own if cache else (),
    )


def completed(context: Context) -> Context:
    """Return the context with what the profile leaves open told by what lies on this machine.

    To be called when the manifests of the run are known: see `modelmedic.facts.references`.
    """
    models = context.profile.models
    is_known = all(model.files and all(f.is_known for f in model.files) for model in models)
    is_there = any(is_folder(context.model_dir(model)) for model in models)
    if is_known or not (is_there or context.manifests):
        return context
    from modelmedic.facts import references  # here: most profiles say everything

    return references.completed(context)


def model_folder(place: Path, model: ModelRepo) -> str:
    """Return the folder of ``model`` in ``place``: the first that holds any of its files.

    Where none does, the most usual one. "." counts only with a weight file in it.
    """
    held = (folder for folder in model.folders if _holds(place, folder, model))
    return next(held, model.folders[0] if model.folders else ".")


def _find_install(profile: Profile, given: str | None, cwd: Path) -> tuple[Path | None, str]:
    if given:
        folder = _usable(_absolute(given, cwd), "given")
        return folder, "given" if folder.exists() else "given; it does not exist yet"
    if any(_holds(cwd, folder, model) for model in profile.models for folder in model.folders):
        return _usable(cwd, "the current folder"), "the current folder holds a model of the profile"
    if profile.install_dir:
        place = cwd.joinpath(*profile.install_dir.split("/"))
        return _usable(place, "the profile's default"), "the profile's default folder"
    return None, "none given, and the current folder holds no model of the profile"


def _find_cache(profile: Profile, install: Path | None) -> Cache | None:
    """Return the cache that the install is or lies in; one beside a plain model is not meant."""
    if install is None:
        return None
    from modelmedic.facts import cache_layout  # here: a machine is also looked at without install

    cache = cache_layout.find(install, profile.models)
    if cache is None or cache.is_around:
        return cache
    models = profile.models
    is_plain = any(_holds(install, folder, model) for model in models for folder in model.folders)
    return None if is_plain else cache


def _in_cache(cache: Cache, reason: str, profile: Profile) -> tuple[Path, str, Profile]:
    """Return a cache as the install: it holds models and nothing else of an app."""
    kind = "the Hub's" if cache.kind == "hub" else "ModelScope's"
    words = f"{reason}; it lies in {kind} download cache, so only the models are examined"
    return cache.root, words, replace(profile, folders=(), configs=())


def _find_target(
    given: str | None, install: Path | None, cwd: Path, environ: Mapping[str, str]
) -> tuple[Path | None, str]:
    if given:
        return _given_target(given, cwd, environ), "given"
    if install and (found := environment_in(install)):
        return found, f"the install folder has {found.relative_to(install).parts[0]}"
    active = environ.get("VIRTUAL_ENV", "")
    if not active or "\0" in active:
        return None, "none given, none in the install folder, and VIRTUAL_ENV is not set"
    if os.path.realpath(active) == os.path.realpath(sys.prefix):
        return None, "none given, none in the install folder, and VIRTUAL_ENV is modelmedic's own"
    if python := python_in(cwd / active):
        return python, "VIRTUAL_ENV"
    return None, f"VIRTUAL_ENV has no Python: {printable(active)}"


def _given_target(given: str, cwd: Path, environ: Mapping[str, str]) -> Path:
    """Return the interpreter given; whether it is there and works is for the checks to say."""
    path = _absolute(given, cwd)
    if is_folder(path):
        return python_in(path) or path
    has_separator = os.sep in given or (os.altsep or os.sep) in given
    if not has_separator and not is_there(path):
        found = shutil.which(given, path=environ.get("PATH", os.defpath))
        return Path(cwd, found) if found else path
    return path


def _find_stage(
    stage: str, profile: Profile, install: Path | None, in_cache: tuple[str, ...]
) -> tuple[str, str]:
    if stage != "auto":
        if stage == "installed" and install is None:
            raise BadInstall(
                "Stage installed needs an install folder, and there is none.",
                f"None was given, and the current folder holds no model of {profile.name}.",
                "Add --install-dir=FOLDER; the folder may still be empty.",
            )
        return stage, "given"
    if install is None:
        return "preflight", "there is no install folder"
    if in_cache:
        return "installed", "the download cache holds a model of the profile"
    if any(_holds(install, folder, model) for model in profile.models for folder in model.folders):
        return "installed", "the install folder holds a model of the profile"
    if environment_in(install):
        return "installed", "the install folder holds a Python environment"
    return "preflight", "the install folder holds neither weights nor a Python environment"


def _holds(place: Path, folder: str, model: ModelRepo) -> bool:
    """Return whether any file of ``model`` lies in ``folder``; for "." only weights count.

    Of a model whose files are not known, the folder of its name is all that can be asked for.
    """
    root = place if folder == "." else place.joinpath(*folder.split("/"))
    if not is_folder(root):
        return False
    if not model.files:
        return folder != "."
    weights = [file for file in model.files if file.path.lower().endswith(_WEIGHTS)]
    telling = weights if folder == "." and weights else model.files
    return any(is_there(root.joinpath(*file.path.split("/"))) for file in telling)


def _absolute(given: str, cwd: Path) -> Path:
    """Return ``given`` from ``cwd``, with ``~`` replaced, links and ".." left as they are."""
    if "\0" in given:
        raise BadInstall(
            f"No path can have a NUL character: {printable(given)}.",
            next_step="Correct the path in the option, variable or ini file it comes from.",
        )
    try:
        return cwd / Path(given).expanduser()
    except RuntimeError:  # "~nobody": no such user, so the name means itself
        return cwd / given


def _usable(folder: Path, origin: str) -> Path:
    """Return ``folder`` if it is a readable folder or could become one.

    Raises:
        BadInstall: It is something else, lies under a file, or cannot be read.
    """
    name = f"The install folder ({origin}) {printable(folder)}"
    try:
        mode = os.stat(folder).st_mode  # noqa: PTH116 - Path.exists hides the errors told below
        if stat.S_ISDIR(mode):
            os.scandir(folder).close()  # opened, not listed: may we read it?
            return folder
    except FileNotFoundError:
        if not os.path.lexists(folder):
            return folder
        raise BadInstall(
            f"{name} is a link whose target is gone: {printable(os.readlink(folder))}.",  # noqa: PTH115 - text as it is
            next_step="Give another --install-dir, or bring the target back.",
        ) from None
    except OSError as error:
        raise BadInstall(
            f"{name} cannot be read: {error.strerror}.",
            next_step="Give another --install-dir, or make this one readable for you.",
        ) from error
    raise BadInstall(
        f"{name} is a {'file' if stat.S_ISREG(mode) else 'device or pipe'}, not a folder.",
        next_step="Give another --install-dir.",
    )
