"""The words of a profile: frozen values, one class per table of the TOML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelFile:
    r"""One file that a model repo must bring.

    ``size_bytes`` and the hashes are None where the source does not state them. A size that is
    not ``is_certain`` may only degrade a finding, never fail it. ``git_blob`` is the Git SHA-1
    of a small file (``sha1('blob <size>\0' + bytes)``).
    """

    path: str  # POSIX form, relative to the model's folder; never absolute, never with ".."
    size_bytes: int | None = None
    sha256: str | None = None
    git_blob: str | None = None
    role: str = ""
    is_certain: bool = True
    is_optional: bool = False
    source: str = ""

    @property
    def is_known(self) -> bool:
        """Return whether its size is certain and a hash of it is stated."""
        has_size = self.size_bytes is not None and self.is_certain
        return has_size and bool(self.sha256 or self.git_blob)


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where the files of a repo can be had, in the order of the profile."""

    kind: str  # "hub" or "modelscope"
    repo: str
    revision: str  # branch, tag or 40-hex commit
    endpoint: str  # name of an Endpoint of the profile


@dataclass(frozen=True, slots=True)
class ModelRepo:
    """One set of weights: where it lies in the install, where it comes from, its files.

    ``folders`` are the places it may lie in, relative to the install, most usual first; "." is
    the install itself. ``also_in`` are absolute, or begin with ``~``.
    """

    name: str
    folders: tuple[str, ...]
    layout: str  # "native" or "diffusers"
    files: tuple[ModelFile, ...]
    sources: tuple[ModelSource, ...] = ()
    ignored: tuple[str, ...] = ()  # globs of upstream files that are neither needed nor wrong
    task: str = ""
    is_optional: bool = False  # the app runs without it and can do less
    also_in: tuple[str, ...] = ()  # folders of this machine that may hold the same files
    manifest: str = ""  # absolute path of a manifest; "": there is none

    @property
    def total_bytes(self) -> int:
        """Return the bytes of all required files whose size is known."""
        return sum(f.size_bytes or 0 for f in self.files if not f.is_optional)


@dataclass(frozen=True, slots=True)
class Hardware:
    """The least a machine must have. None or empty: the profile does not ask."""

    needs_gpu: bool = False
    min_vram_bytes: int | None = None
    min_ram_bytes: int | None = None  # RAM plus swap, under the caps of cgroup and WSL
    min_compute_capability: str | None = None  # "8.0"
    min_driver_linux: str | None = None
    min_driver_windows: str | None = None
    min_shm_bytes: int | None = None
    min_open_files: int | None = None
    cpu_features: tuple[str, ...] = ()  # names as in /proc/cpuinfo flags: "avx2"
    machines: tuple[str, ...] = ()  # platform.machine() values, lower case: "x86_64", "amd64"
    systems: tuple[str, ...] = ()  # sys.platform families: "linux", "win32", "darwin"
    flags: str = ""  # the run flags under which these numbers hold
    source: str = ""


@dataclass(frozen=True, slots=True)
class Fit:
    """One way to run a task and the memory it takes. None: no source states that number.

    The fits of a task stand in the order of preference: what loses least comes first. A number
    that is not ``stated`` is computed from sizes, so it may only degrade.
    """

    name: str
    task: str = ""  # what the app calls it
    sizes: tuple[str, ...] = ()  # of the video, as the app writes them: "1280*704"
    flags: str = ""  # the app's options under which the numbers hold
    min_vram_bytes: int | None = None  # free, on one GPU
    min_ram_bytes: int | None = None  # RAM plus swap
    vram_how: str = "stated"  # or "computed"
    ram_how: str = "computed"
    loses: str = ""  # what is lost against the first fit; "": nothing
    source: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One distribution the app needs, as a PEP 508 line, and the trap known about it."""

    spec: str
    trap: str = ""  # what goes wrong with it and why, one or two sentences
    is_optional: bool = False

    @property
    def name(self) -> str:
        """Return the normalised distribution name (PEP 503)."""
        import re

        match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.spec)
        return re.sub(r"[-_.]+", "-", match.group(0)).lower() if match else ""


@dataclass(frozen=True, slots=True)
class PythonNeeds:
    """The Python the app runs in. ``is_required`` False: the profile needs no environment."""

    is_required: bool = True
    requires: str = ""  # PEP 440 specifier set: ">=3.10,<3.13"
    requirements: tuple[Requirement, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """What one key of a config file must hold. ``name`` is dotted for nested tables."""

    name: str
    type: str  # "string", "integer", "number", "boolean", "array", "object"
    is_required: bool = True
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] = ()
    has_default: bool = False
    default: Any = None  # the safe default, written by the config repair


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A settings file of the app. ``keys`` may be empty: then it must only parse."""

    path: str  # POSIX form, relative to the install
    format: str  # "json", "toml", "ini"
    is_required: bool = True
    keys: tuple[ConfigKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server the install or its repair talks to.

    ``url`` "embedded:demo" means the Hub that modelmedic itself serves on loopback during the
    run; the loaded context carries its real address.
    """

    name: str
    url: str
    kind: str  # "hub", "modelscope", "wheels" (a package index), "other"
    purpose: str = ""
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port the app listens on at 127.0.0.1."""

    number: int
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that must be on PATH: ffmpeg."""

    name: str
    purpose: str = ""
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class Component:
    """A part of the app that an installer calls; the reliability library protects it."""

    name: str
    module: str = ""  # dotted import path in the target environment, never imported by us
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how fast this install is tried again; None: as modelmedic does by default."""

    tries: int | None = None
    first_seconds: float | None = None
    most_seconds: float | None = None
    asked_seconds: float | None = None
    budget_count: int | None = None
    budget_seconds: float | None = None
    per_minute: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Help:
    """Where the app's own people are asked for help."""

    issues_url: str = ""  # page of its tracker that opens a new issue; "": none is known
    source: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a healthy install is. Everything is data; nothing of it is ever executed."""

    name: str
    title: str
    file: Path
    description: str = ""
    as_of: str = ""
    source: str = ""
    docs_url: str = ""
    install_dir: str = ""  # default install folder, relative to the current one; "" = none
    folders: tuple[str, ...] = ()  # folders that must exist in a finished install
    hardware: Hardware = field(default_factory=Hardware)
    fits: tuple[Fit, ...] = ()
    python: PythonNeeds = field(default_factory=PythonNeeds)
    models: tuple[ModelRepo, ...] = ()
    configs: tuple[ConfigFile, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[Port, ...] = ()
    programs: tuple[Program, ...] = ()
    components: tuple[Component, ...] = ()
    retry: Retry = field(default_factory=Retry)
    support: Help = field(default_factory=Help)

    def endpoint(self, name: str) -> Endpoint | None:
        """Return the endpoint of that name, or None."""
        return next((e for e in self.endpoints if e.name == name), None)
