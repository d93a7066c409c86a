"""What one run examines, decided once at its start: profile, install, target, stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmedic.profile.model import ModelFile, ModelRepo, Profile

OWN_FOLDER = (
    ".modelmedic"  # lock, kept files and parts of a repair inside an install; scans skip it
)
SCRATCH_PREFIX = ".modelmedic-probe-"  # the only thing a check may create, and it removes it
_PLAN = "modelmedic plan "


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """One model file of the profile and where it must lie in this install."""

    model: ModelRepo
    file: ModelFile
    path: Path  # absolute
    subject: str  # POSIX form, relative to the install: what findings and recoveries call it
    told_by: str = "the profile"  # who says what the file should be, in words


@dataclass(frozen=True, slots=True)
class Context:
    """The subject of a run. Paths are absolute.

    ``install_dir`` is None in a preflight without a chosen folder; ``place`` is then the current
    folder, where an install would go. ``model_folders`` has one folder per model of the profile,
    in its order, relative to ``place`` (the first that holds any of its files, else the most
    usual one). ``target_python`` is the interpreter the app runs in, None when there is none yet.

    ``store`` is "" for a plain folder, "hub" for a cache of the Hub's client, "modelscope" for one
    of ModelScope. ``own_folders`` are then the folders of it that are this profile's: in a cache
    other people's models are nobody's business here. ``told_by`` pairs the subject of a file with
    the source of what is known of it, where that is not the profile alone.
    """

    profile: Profile
    place: Path
    install_dir: Path | None
    install_reason: str
    target_python: Path | None
    target_reason: str
    stage: str  # "preflight" or "installed"
    stage_reason: str
    deep: bool
    offline: bool
    run_id: str
    state_dir: Path
    command: str  # how this run was started, without mode options: "python start.py --profile=demo"
    model_folders: tuple[str, ...] = ()
    store: str = ""
    own_folders: tuple[str, ...] = ()
    told_by: tuple[tuple[str, str], ...] = ()
    wheelhouse: str = ""  # absolute folder of wheels to install from without a network; "" = none
    manifests: tuple[Any, ...] = ()  # of modelmedic.facts.manifest.Manifest, which lies above

    @property
    def is_installed(self) -> bool:
        """Return whether a finished install is what is examined."""
        return self.stage == "installed"

    @property
    def scratch_name(self) -> str:
        """Return the name of this run's scratch folder."""
        return f"{SCRATCH_PREFIX}{self.run_id}"

    def model_dir(self, model: ModelRepo) -> Path:
        """Return the absolute folder of one model of the profile; it may not exist."""
        return self.place / self.model_folders[self.profile.models.index(model)]

    def expected_files(self) -> tuple[ExpectedFile, ...]:
        """Return every model file of the profile, in its order; empty when it has none."""
        told_by = dict(self.told_by)
        found = []
        for model, folder in zip(self.profile.models, self.model_folders, strict=True):
            for file in model.files:
                subject = file.path if folder == "." else f"{folder}/{file.path}"
                path = self.place.joinpath(folder, *file.path.split("/"))
                words = told_by.get(subject, "the profile")
                found.append(ExpectedFile(model, file, path, subject, words))
        return tuple(found)

    def run_command(self, *options: str) -> str:
        """Return the command that repeats this run with more options, ready to be typed."""
        command, more = self.command, list(options)
        # It would work, but nobody believes that `plan` repairs.
        if f"{command} ".startswith(_PLAN) and "--heal" in more:
            command = f"modelmedic heal {command[len(_PLAN) :]}".rstrip()
            more.remove("--heal")
        return " ".join([command, *more])
