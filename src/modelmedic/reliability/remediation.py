"""What a person can do about an error: its own next step, what is known of it, its category."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator

from modelmedic.errors import ModelmedicError, Unhealthy
from modelmedic.findings import EnhancedErrorCategory as Category

# One sentence for each category at least. A command is runnable as printed, in the install folder:
# modelmedic finds the install by the current folder.
OF_CATEGORY: dict[Category, tuple[str, ...]] = {
    Category.SYSTEM: (
        (
            "Run `modelmedic check -k system` in the install folder: it judges the system, its "
            "limits and its clock."
        ),
        "If the file is held by another program, close that program and start again.",
    ),
    Category.NETWORK: (
        (
            "Run `modelmedic check -k network`: it names the stage that fails (name, connection, "
            "certificate, answer) for each server."
        ),
        "Start again later: what was fetched so far is kept.",
    ),
    Category.PERMISSION: (
        (
            "Run `modelmedic check -k permissions` in the install folder: it names the folder, its "
            "owner and the command that gives it to you."
        ),
    ),
    Category.CONFIGURATION: (
        (
            "Run `modelmedic check -k config` in the install folder: it names the file, the line "
            "and what was expected."
        ),
        "Run `modelmedic heal -k config` to put the last good copy back.",
    ),
    Category.DEPENDENCY: (
        (
            "Run `modelmedic check -k packages` in the install folder: it names what is missing in "
            "the app's environment."
        ),
        "Run `modelmedic heal -k packages` to repair it.",
    ),
    Category.VALIDATION: (
        (
            "Run `modelmedic check -k weights` in the install folder: it names each file that is "
            "not what the profile says."
        ),
        "Run `modelmedic heal -k weights` to fetch what is missing.",
    ),
    Category.MISSING_METHOD: (
        "Update all parts of the app together, so that they are of one version.",
        "Run `modelmedic check -k app` in the install folder: it finds parts that do not fit.",
    ),
    Category.VERSION_MISMATCH: (
        (
            "Run `modelmedic check -k stack` in the install folder: it names the packages that do "
            "not fit and the nearest set of versions that does."
        ),
        "Run `modelmedic heal -k stack` to install that set.",
    ),
    Category.RESOURCE_EXHAUSTION: (
        (
            "Run `modelmedic check -k 'disk or memory'` in the install folder: it says what is "
            "short and by how much."
        ),
        "Close other programs, or free some space, and start again.",
    ),
    Category.TIMEOUT: (
        "Start again: what was done so far is kept.",
        (
            "If it stays, run `modelmedic check -k 'network or disk'`: a slow line and a dead "
            "mount look the same from here."
        ),
    ),
    Category.AUTHENTICATION: (
        "Log in again with `hf auth login`, and accept the model's licence on its page.",
        "Run `modelmedic check -k network`: it says whether the saved token is taken.",
    ),
    Category.CORRUPTION: (
        (
            "Run `modelmedic check -k weights --deep` in the install folder: it names each damaged "
            "file."
        ),
        "Run `modelmedic heal -k weights` to replace only what is damaged.",
    ),
}
_UNKNOWN = ("Run `modelmedic check` in the install folder, and send report.html to support.",)

_OF_ERRNO = {
    errno.ENOSPC: "The disk{of} is full: free some space there, then start again.",
    errno.EDQUOT: "Your quota{of} is used up: delete something of yours there, or ask for more.",
    errno.EROFS: "The file system{of} is mounted read-only: choose another folder.",
    errno.EACCES: "The right to use{of} is missing: `ls -ld` on it says whose it is.",
    errno.EMFILE: "This process holds too many files open: raise the limit with `ulimit -n 4096`.",
    errno.ENOENT: "There is nothing at the place it looked{of}.",
}


def sentences(
    links: Iterable[BaseException], category: Category | None, failure_id: str | None = None
) -> list[str]:
    """Return what to do next, the nearest first; at least one sentence.

    Args:
        links: The error, then what it came of.
        category: Of the error; None when nothing says which.
        failure_id: Id of the known failure (docs/failures.md); read from the error if it has one.
    """
    links = list(links)
    ids = [failure_id, *(link.failure_id for link in links if isinstance(link, Unhealthy))]
    found = [*_own(links), *_of_numbers(links)]
    for name in filter(None, ids):
        found += _of_failure(name)
    found += OF_CATEGORY[category] if category else _UNKNOWN
    return list(dict.fromkeys(found))


def _own(links: list[BaseException]) -> Iterator[str]:
    for link in links:
        if isinstance(link, ModelmedicError | Unhealthy) and link.next_step:
            yield link.next_step


def _of_numbers(links: list[BaseException]) -> Iterator[str]:
    for link in links:
        words = _OF_ERRNO.get(link.errno or 0) if isinstance(link, OSError) else None
        if words:
            name = link.filename  # type: ignore[attr-defined]
            yield words.format(of=f" of {name}" if isinstance(name, str) else "")


def _of_failure(name: str) -> list[str]:
    """Return what the table of known failures says of one; nothing for an unknown id."""
    from modelmedic.healing import tables

    row = tables.read("failures.toml").get(name)
    if row is None:
        return []
    told = [f"This is a known failure, {name}: {row['reason']}."]
    if recoveries := row.get("recoveries"):
        told.append(
            f"`modelmedic heal` in the install folder repairs it ({', '.join(recoveries)})."
        )
    else:
        told.append(f"Nothing is repaired, {row['guidance']}.")
    return told
