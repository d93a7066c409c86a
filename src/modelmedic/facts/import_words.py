"""A module that cannot be imported, in words: what happened, why, what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from modelmedic.facts.book import FactBook
from modelmedic.facts.file_words import reinstall_command
from modelmedic.facts.import_faults import Fault, Reason
from modelmedic.facts.import_probe import Import
from modelmedic.facts.interpreter import Interpreter
from modelmedic.facts.packages import find_conflicts, is_name, shell_words
from modelmedic.facts.pip_commands import install_command, settle_command
from modelmedic.text import printable

_VC_RUNTIME = "https://aka.ms/vs/17/release/vc_redist.x64.exe"  # Microsoft's own, as torch names it
_TRIO = ("torch", "torchvision", "torchaudio")


@dataclass(frozen=True, slots=True)
class Case:
    """One failed import and what is known around it."""

    facts: FactBook
    found: Interpreter
    package: str  # normalised name of the distribution that was asked for
    result: Import

    @property
    def fault(self) -> Fault:
        """Return why it failed."""
        fault = self.result.fault or Fault(Reason.OTHER)
        return Fault(fault.reason, printable(fault.detail))

    def spec(self, name: str) -> str:
        """Return what the profile asks of a package, or its bare name."""
        requirements = self.facts.profile.python.requirements
        return next((each.spec for each in requirements if each.name == name), name)

    def version(self, name: str) -> str:
        """Return an installed version, "" when it is not installed."""
        item = self.found.installed.get(name)
        return item.version if item else ""

    def install(self, *arguments: str) -> str:
        """Return a command of the target's pip."""
        return install_command(self.facts, self.found, list(arguments))

    def reinstall(self, *names: str) -> str:
        """Return the command that installs the same versions of these packages again."""
        items = [self.found.installed[name] for name in names if name in self.found.installed]
        return reinstall_command(self.facts, self.found, items)

    def unmet(self) -> tuple[str, str] | None:
        """Return why and what next where its own metadata tells what it misses; else None."""
        everything = find_conflicts(self.found.distributions, self.found.marker_environment)
        own = [
            each
            for each in everything
            if each.name == self.package and each.kind in {"missing", "version"}
        ]
        if not own:
            return None
        profile = self.facts.profile
        return f"{own[0].words}.", settle_command(self.facts, self.found, profile, own)

    def uninstall(self, name: str) -> str:
        """Return the command that removes a package."""
        return shell_words([self.found.target, "-m", "pip", "uninstall", "-y", name])


Words = tuple[str, str]  # why, next step
# Faults that come of what a package asks for and does not have, more often than not.
_ASKED = frozenset(
    {Reason.MISSING_MODULE, Reason.MISSING_NAME, Reason.REFUSED_VERSION, Reason.OTHER}
)


def explain(case: Case) -> tuple[str, str, str]:
    """Return what, why and next of an import that failed, or went on without a part."""
    result = case.result
    item = case.found.installed.get(case.package)
    who = f"{result.module} ({item.name} {item.version})" if item else result.module
    said = f" It said: {result.said}" if result.said else ""
    if result.is_imported:
        what = f"{who} is imported, but not whole: {case.fault.reason.value}."
    elif result.ended:
        what = f"Importing {who} ended Python: it {result.ended}."
    else:
        what = f"{who} cannot be imported: {_reason(case.fault)}."
    words = case.unmet() if case.fault.reason in _ASKED else None
    why, next_step = words or _WORDS.get(case.fault.reason, _other)(case)
    return what, f"{why}{said}", next_step


def _reason(fault: Fault) -> str:
    return f"{fault.reason.value} {fault.detail}".strip()


def _numpy_too_new(case: Case) -> Words:
    spec = case.spec("numpy")
    wanted = "numpy<2" if spec == "numpy" else spec
    return (
        f"It was compiled for numpy 1; numpy {case.version('numpy') or '2'} is installed.",
        case.install(wanted, *_named(case.package)),
    )


def _numpy_too_old(case: Case) -> Words:
    return (
        f"It was compiled for a newer numpy than the installed {case.version('numpy') or 'one'}.",
        case.install(case.spec("numpy"), *_named(case.spec(case.package))),
    )


def _undefined_symbol(case: Case) -> Words:
    torch = case.version("torch")
    if case.package in _TRIO and torch:
        return (
            f"It was built for another release of torch than the installed {torch}.",
            case.install("--upgrade", *(case.spec(name) for name in _TRIO)),
        )
    if case.result.module == "flash_attn" and torch:
        return (
            (
                f"It was built for another torch, CUDA or C++ ABI than the installed torch "
                f"{torch}. A broken flash_attn is worse than none: the app goes on without it only "
                "when it is not installed."
            ),
            f"`{case.uninstall(case.package)}`, then install the build for torch {torch}.",
        )
    return (
        "A library that it was built against is there in another version.",
        case.reinstall(case.package) or case.install(case.package),
    )


def _missing_library(case: Case) -> Words:
    library = case.fault.detail
    if case.result.module == "cv2":
        return (
            (
                f"{library} belongs to a desktop; servers and containers have none. The headless "
                "build does without it."
            ),
            f"`{case.uninstall(case.package)}`, then `{case.install('opencv-python-headless')}`.",
        )
    if case.result.module == "flash_attn":
        return (
            (
                f"It was built for another CUDA: {library} is not part of the installed torch "
                f"{case.version('torch')}."
            ),
            f"`{case.uninstall(case.package)}`, then install the build for this torch and CUDA.",
        )
    return (
        f"{library} is neither in the environment nor in the system.",
        (
            f"Install the system's package that brings {library}, or the build of "
            f"{case.package} that carries it: {case.reinstall(case.package)}"
        ),
    )


def _glibc(case: Case) -> Words:
    return (
        (
            f"It was built on a newer system: it asks for {case.fault.detail}; this one has glibc "
            f"{case.found.glibc or 'of an unknown version'}. The C library cannot be replaced."
        ),
        (
            f"`{case.uninstall(case.package)}`, then install an older build of it, or use a newer "
            "system."
        ),
    )


def _dll(case: Case) -> Words:
    beside = case.found.runtime_dlls
    if case.package in {"triton", "triton-windows"} and beside:
        return (
            "A DLL that it needs was not found, or an old one was found first.",
            (
                f"Rename {printable(beside[0])} if it is not of Python's own installer, then "
                f"install {_VC_RUNTIME}."
            ),
        )
    return (
        "A DLL that it needs is missing, most often of the Visual C++ runtime.",
        f"Install Microsoft's runtime, {_VC_RUNTIME}. Never fetch single DLLs from elsewhere.",
    )


def _cut_file(case: Case) -> Words:
    return (
        "A compiled file of it is cut or of another kind.",
        case.reinstall(case.package),
    )


def _operator(case: Case) -> Words:
    pair = " and ".join(f"{name} {case.version(name)}" for name in _TRIO if case.version(name))
    return (
        f"torch and torchvision are of different releases or builds: {pair}.",
        case.install("--upgrade", *(case.spec(name) for name in _TRIO[:2])),
    )


def _xformers(case: Case) -> Words:
    return (
        f"xformers was built for another torch than the installed {case.version('torch')}.",
        f"`{case.uninstall('xformers')}`: the app's own code does not need it.",
    )


def _triton(case: Case) -> Words:
    return (
        "There is no triton for this system, or not for this torch.",
        (
            "Start the app without torch.compile and SageAttention, or install the triton that "
            f"fits torch {case.version('torch')}."
        ),
    )


def _missing_module(case: Case) -> Words:
    missing = case.fault.detail.partition(".")[0]
    if missing in case.found.module_owners:
        return (
            f"{case.fault.detail} is not in the installed version of {missing}.",
            case.install("--upgrade", *_named(case.spec(case.package))),
        )
    return (
        f"{missing} is not installed, and {case.package} does not ask pip for it.",
        case.install(*(_named(missing) or _named(case.package))),
    )


def _refused_version(case: Case) -> Words:
    return (
        "It looks at the versions of others when it is imported, and refuses one.",
        case.install(case.fault.detail, *_named(case.spec(case.package))),
    )


def _encoding(case: Case) -> Words:
    return (
        (
            f"A text in UTF-8 was read as {case.found.encoding}, the encoding of the system's "
            "settings."
        ),
        "Start the app with PYTHONUTF8=1 in its environment.",
    )


def _other(case: Case) -> Words:
    return (
        "The reason is none of the known ones.",
        case.reinstall(case.package) if case.version(case.package) else case.install(case.package),
    )


def _named(spec: str) -> tuple[str, ...]:
    """Return a requirement as an argument, nothing when its name is not safe to type."""
    return (spec,) if spec and (is_name(spec) or spec[0].isalnum()) else ()


_WORDS: Mapping[Reason, Callable[[Case], Words]] = {
    Reason.NUMPY_TOO_NEW: _numpy_too_new,
    Reason.NUMPY_TOO_OLD: _numpy_too_old,
    Reason.UNDEFINED_SYMBOL: _undefined_symbol,
    Reason.MISSING_LIBRARY: _missing_library,
    Reason.GLIBC: _glibc,
    Reason.DLL: _dll,
    Reason.CUT_FILE: _cut_file,
    Reason.OPERATOR: _operator,
    Reason.XFORMERS: _xformers,
    Reason.TRITON: _triton,
    Reason.MISSING_MODULE: _missing_module,
    Reason.REFUSED_VERSION: _refused_version,
    Reason.ENCODING: _encoding,
}
