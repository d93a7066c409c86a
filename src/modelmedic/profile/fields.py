"""Every key a profile may have: the one source of the loader, the JSON Schema and the reference."""

from __future__ import annotations

from collections.abc import Mapping

from modelmedic.profile import model, rules
from modelmedic.profile.keys import MAX_INTEGER, Key, Table

__all__ = ["DOCUMENT", "FILE_KEYS", "MAX_INTEGER", "PROFILE", "Key", "Table"]


def _size(about: str) -> Key:
    return Key("integer", about, minimum=0)


FILE = Table(
    "models.files",
    "One file of a model. Sizes and hashes stay out where no source states them.",
    {
        "path": Key("string", "Path inside the model's folder.", required=True, rule=rules.PATH),
        "size_bytes": _size("Exact size in bytes."),
        "sha256": Key("string", "SHA-256 of its bytes.", rule=rules.SHA256),
        "git_blob": Key(
            "string", "Git SHA-1, as a Hub lists it for a small file.", rule=rules.GIT_BLOB
        ),
        "role": Key("string", "What it is for, in a few words."),
        "certain": Key(
            "boolean",
            "false: size and hashes are not certain, so a difference degrades and never fails "
            "(default true).",
            field="is_certain",
        ),
        "optional": Key(
            "boolean", "true: the app runs without it (default false).", field="is_optional"
        ),
        "source": Key("string", "Where size and hashes come from."),
    },
    model.ModelFile,
    "path",
)

SOURCE = Table(
    "models.sources",
    "Where the model's files can be fetched, most preferred first.",
    {
        "kind": Key(
            "string", "The protocol spoken there.", required=True, choices=("hub", "modelscope")
        ),
        "repo": Key("string", "The repository, owner/name.", required=True, rule=rules.REPO),
        "revision": Key("string", "Branch, tag or commit.", required=True, rule=rules.REVISION),
        "endpoint": Key(
            "string", "Name of an entry of [[endpoints]].", required=True, rule=rules.NAME
        ),
    },
    model.ModelSource,
)

MODEL = Table(
    "models",
    "One set of weights. A model without files has unknown files and sizes.",
    {
        "name": Key("string", "A short name.", required=True, rule=rules.NAME),
        "task": Key("string", "What the app calls the task it serves."),
        "folders": Key(
            "strings",
            'Where it may lie in the install, most usual first; "." is the install itself.',
            required=True,
            rule=rules.FOLDER,
        ),
        "layout": Key(
            "string",
            "How its files are arranged.",
            required=True,
            choices=("native", "diffusers"),
        ),
        "ignored": Key(
            "strings",
            "Patterns of upstream files that are neither needed nor wrong.",
            rule=rules.GLOB,
        ),
        "optional": Key(
            "boolean",
            "true: the app runs without it and can do less, so a person may leave it out "
            "(default false).",
            field="is_optional",
        ),
        "also_in": Key(
            "strings",
            "Folders of this machine that may hold the same files; they are only read, and every "
            "byte taken is proven.",
            rule=rules.OUTSIDE,
        ),
        "manifest": Key(
            "string",
            "Manifest with the digests of its files' blocks; a path relative to this file.",
        ),
        "sources": Key("tables", SOURCE.about, table=SOURCE),
        "files": Key("tables", "The files it must bring.", table=FILE),
    },
    model.ModelRepo,
    "name",
)

HARDWARE = Table(
    "hardware",
    "The least a machine must have. What is left out is not asked.",
    {
        "needs_gpu": Key("boolean", "true: no NVIDIA GPU is a failure (default false)."),
        "min_vram_bytes": _size("Memory of one GPU, in bytes."),
        "min_ram_bytes": _size("RAM and swap together, in bytes."),
        "min_compute_capability": Key(
            "string", 'Oldest GPU generation: "8.0".', rule=rules.CAPABILITY
        ),
        "min_driver_linux": Key(
            "string", "Oldest NVIDIA driver on Linux and WSL.", rule=rules.VERSION
        ),
        "min_driver_windows": Key("string", "Oldest NVIDIA driver on Windows.", rule=rules.VERSION),
        "min_shm_bytes": _size("Size of /dev/shm in bytes."),
        "min_open_files": _size("Files one process may hold open."),
        "cpu_features": Key("strings", 'CPU flags as Linux names them: "avx2".', rule=rules.WORD),
        "machines": Key(
            "strings", 'Processor families as Python names them: "x86_64".', rule=rules.WORD
        ),
        "systems": Key(
            "strings",
            "Operating systems that work.",
            choices=("linux", "win32", "darwin"),
        ),
        "flags": Key("string", "The app's options under which these numbers hold."),
        "source": Key("string", "Where the numbers come from."),
    },
    model.Hardware,
)

FIT = Table(
    "fits",
    "One way to run a task and the memory it takes, what loses least first.",
    {
        "name": Key("string", "A short name.", required=True, rule=rules.NAME),
        "task": Key("string", "What the app calls the task."),
        "sizes": Key("strings", 'Sizes of the video as the app writes them: "1280*704".'),
        "flags": Key("string", "The app's options under which these numbers hold."),
        "min_vram_bytes": _size("Free memory of one GPU, in bytes."),
        "min_ram_bytes": _size("RAM and swap together for this way, in bytes."),
        "vram_how": Key(
            "string",
            "Where min_vram_bytes comes from (default stated). What is computed may only degrade.",
            choices=("stated", "computed"),
        ),
        "ram_how": Key(
            "string",
            "Where min_ram_bytes comes from (default computed).",
            choices=("stated", "computed"),
        ),
        "loses": Key("string", "What is lost against the first way; left out: nothing."),
        "source": Key("string", "Where these numbers come from.", required=True),
    },
    model.Fit,
    "name",
)

REQUIREMENT = Table(
    "python.requirements",
    "One package the app needs.",
    {
        "spec": Key(
            "string",
            'A PEP 508 requirement: "numpy>=1.23.5,<2".',
            required=True,
            rule=rules.REQUIREMENT,
        ),
        "trap": Key("string", "What goes wrong with it and why, in a sentence or two."),
        "optional": Key(
            "boolean", "true: the app runs without it (default false).", field="is_optional"
        ),
    },
    model.Requirement,
    "spec",
)

PYTHON = Table(
    "python",
    "The Python environment the app runs in.",
    {
        "required": Key(
            "boolean", "false: the app needs no Python (default true).", field="is_required"
        ),
        "requires": Key(
            "string", 'Range of Python versions: ">=3.10,<3.13".', rule=rules.SPECIFIERS
        ),
        "source": Key("string", "Where range and requirements come from."),
        "requirements": Key("tables", "The packages the app needs.", table=REQUIREMENT),
    },
    model.PythonNeeds,
)

CONFIG_KEY = Table(
    "configs.keys",
    "What one key of a config file must hold.",
    {
        "name": Key("string", "The key; dotted inside nested tables.", required=True),
        "type": Key(
            "string",
            "The type of its value.",
            required=True,
            choices=("string", "integer", "number", "boolean", "array", "object"),
        ),
        "required": Key(
            "boolean", "false: the key may be missing (default true).", field="is_required"
        ),
        "minimum": Key("number", "Smallest value allowed."),
        "maximum": Key("number", "Largest value allowed."),
        "choices": Key("values", "The values allowed."),
        "default": Key("value", "The safe value that a repair writes."),
    },
    model.ConfigKey,
    "name",
)

CONFIG = Table(
    "configs",
    "A settings file of the app. Without keys it must only parse.",
    {
        "path": Key("string", "Path inside the install.", required=True, rule=rules.PATH),
        "format": Key(
            "string", "How it is written.", required=True, choices=("json", "toml", "ini")
        ),
        "required": Key(
            "boolean", "false: the file may be missing (default true).", field="is_required"
        ),
        "keys": Key("tables", "The keys it must hold.", table=CONFIG_KEY),
    },
    model.ConfigFile,
    "path",
)

ENDPOINT = Table(
    "endpoints",
    "A server the install or its repair talks to.",
    {
        "name": Key("string", "A short name.", required=True, rule=rules.NAME),
        "url": Key("string", "Its address.", required=True, rule=rules.URL),
        "kind": Key(
            "string",
            "What it serves.",
            required=True,
            choices=("hub", "modelscope", "wheels", "other"),
        ),
        "purpose": Key("string", "What it is needed for."),
        "required": Key(
            "boolean", "false: the install works without it (default true).", field="is_required"
        ),
    },
    model.Endpoint,
    "name",
)

PORT = Table(
    "ports",
    "A TCP port the app listens on at 127.0.0.1.",
    {
        "number": Key("integer", "1 to 65535.", required=True, minimum=1, maximum=65535),
        "purpose": Key("string", "What listens there."),
    },
    model.Port,
    "number",
)

PROGRAM = Table(
    "programs",
    "A program that must be on PATH.",
    {
        "name": Key("string", "Its name without .exe.", required=True, rule=rules.NAME),
        "purpose": Key("string", "What the app uses it for."),
        "required": Key(
            "boolean", "false: the app works without it (default true).", field="is_required"
        ),
    },
    model.Program,
    "name",
)

COMPONENT = Table(
    "components",
    "A part of the app that an installer calls.",
    {
        "name": Key("string", "A short name.", required=True, rule=rules.NAME),
        "module": Key("string", "Its import path; modelmedic never imports it.", rule=rules.MODULE),
        "purpose": Key("string", "What it does."),
    },
    model.Component,
    "name",
)

_MOST = 1_000_000


def _wait(about: str) -> Key:
    return Key("number", about, minimum=0, maximum=_MOST)


# The same numbers as of `modelmedic.pace`, which lies above; a test compares them.
RETRY = Table(
    "retry",
    "How often and how fast what fails for a moment is tried again. What is left out is as by "
    "default; options, environment and ini file come before it.",
    {
        "tries": Key("integer", "Tries in all, the first too.", minimum=1, maximum=_MOST),
        "first_seconds": _wait("Upper end of the wait before the second try, then twice that."),
        "most_seconds": _wait("Upper end of any wait."),
        "asked_seconds": _wait("The longest wait that a server is granted."),
        "budget_count": Key("integer", "Retries in a run.", minimum=0, maximum=_MOST),
        "budget_seconds": _wait("Seconds waited in a run in all."),
        "per_minute": Key("integer", "Retries in any minute.", minimum=0, maximum=_MOST),
        "source": Key("string", "Where the numbers come from."),
    },
    model.Retry,
)

SUPPORT = Table(
    "support",
    "Where the app's own people are asked for help.",
    {
        "issues_url": Key(
            "string",
            "Page of its tracker that opens a new issue and takes title= and body=: "
            "modelmedic bundle --issue makes a link to it.",
            rule=rules.SECURE_PAGE,
        ),
        "source": Key("string", "Where the address comes from."),
    },
    model.Help,
)

PROFILE = Table(
    "",
    "What a healthy install is.",
    {
        "name": Key(
            "string", "The profile's name (default: the file's, without .toml).", rule=rules.NAME
        ),
        "title": Key("string", "What people call it.", required=True),
        "description": Key("string", "One or two sentences.", rule=rules.TEXT),
        "as_of": Key("string", 'When its facts were collected: "2026-11-23".', rule=rules.DATE),
        "source": Key("string", "Where its facts come from.", rule=rules.TEXT),
        "docs_url": Key("string", "The app's own documentation.", rule=rules.WEB_PAGE),
        "install_dir": Key(
            "string",
            "Install folder inside the current one when none is given; left out: there is none.",
            rule=rules.PATH,
        ),
        "folders": Key("strings", "Folders a finished install must have.", rule=rules.PATH),
        "hardware": Key("table", HARDWARE.about, table=HARDWARE),
        "fits": Key("tables", FIT.about, table=FIT),
        "python": Key("table", PYTHON.about, table=PYTHON),
        "models": Key("tables", MODEL.about, table=MODEL),
        "configs": Key("tables", CONFIG.about, table=CONFIG),
        "endpoints": Key("tables", ENDPOINT.about, table=ENDPOINT),
        "ports": Key("tables", PORT.about, table=PORT),
        "programs": Key("tables", PROGRAM.about, table=PROGRAM),
        "components": Key("tables", COMPONENT.about, table=COMPONENT),
        "retry": Key("table", RETRY.about, table=RETRY),
        "support": Key("table", SUPPORT.about, table=SUPPORT),
    },
    model.Profile,
)

_REMOVABLE = (
    *("fits", "models", "requirements", "configs"),
    *("endpoints", "ports", "programs", "components"),
)

REMOVE = Table(
    "remove",
    "What a child profile drops of its parent's entries, before its own are added.",
    {name: Key("strings", f"Names of entries of {name}.") for name in _REMOVABLE},
    dict,
)

# These steer the reading of one file; a child does not inherit them.
FILE_KEYS: Mapping[str, Key] = {
    "extends": Key(
        "string",
        "The profile this one builds on: a name, or a path relative to this file.",
        rule=rules.EXTENDS,
    ),
    "abstract": Key("boolean", "true: this file is only there to be extended (default false)."),
    "remove": Key("table", REMOVE.about, table=REMOVE),
}

DOCUMENT = Table("", PROFILE.about, {**FILE_KEYS, **PROFILE.keys}, model.Profile)
