"""What is wrong with the records in a cache of the Hub's client, in words."""

from __future__ import annotations

from collections.abc import Sequence

from modelmedic.errors import Unhealthy
from modelmedic.facts.hub_cache import Ref, Tree
from modelmedic.text import counted, printable

_SHOWN = 3
OTHER_COMMIT = (
    "The profile may be of another version of the model, which has other files; if it is not, the "
    "client never fetches these and still reports success."
)


def broken_ref(broken: Sequence[Ref], commit: str) -> Unhealthy:
    """Return the verdict on refs that name no commit; ``commit`` is the snapshot in use."""
    ref = broken[0]
    is_empty = ref.flaw == "empty"
    more = f" So {'is' if len(broken) == 2 else 'are'} {len(broken) - 1} more." * (len(broken) > 1)  # noqa: PLR2004 - one more
    return Unhealthy(
        f"{printable(ref.subject)} {'is empty' if is_empty else 'names no commit'}.{more}",
        "Offline the Hub's client then takes the folder of all snapshots for the model and reports "
        "success. Most often a full disk or a power cut while it was written.",
        "Start the download once with network: the client writes it anew and fetches nothing that "
        f"is there. The snapshot that is examined here is {printable(commit)}.",
        subject=ref.subject,
        evidence={"flaw": ref.flaw, "refs": len(broken), "commit": commit},
    )


def ref_without_snapshot(ref: Ref) -> tuple[str, str, str]:
    """Return what, why and next of a ref that names a commit of which nothing is there."""
    return (
        f"{printable(ref.subject)} names commit {ref.commit}, of which the cache has no snapshot.",
        "Most often a download of a newer version that was stopped before its first file.",
        "Start that download again, or name the commit that is there as the revision.",
    )


def unreadable_tree(tree: Tree) -> tuple[str, str, str]:
    """Return what, why and next of a listing that cannot be read."""
    return (
        f"{printable(tree.subject)} is not readable as a listing of the Hub's client.",
        "Without it the client asks the Hub for the listing each time, and fails offline.",
        "Move it aside; the next download with network writes it anew.",
    )


def incomplete_tree(tree: Tree) -> Unhealthy:
    """Return the verdict on a listing that lacks files which the commit has."""
    shown = ", ".join(printable(path) for path in tree.missing[:_SHOWN])
    return Unhealthy(
        f"{printable(tree.subject)} omits {counted(len(tree.missing), 'file')} of the model: "
        f"{shown}{', ...' if len(tree.missing) > _SHOWN else ''}.",
        "The Hub's client takes it for the whole repo: it never fetches what is omitted, and "
        "reports success.",
        "--heal moves it aside; the next download writes it anew and fetches the rest.",
        subject=tree.subject,
        evidence={"files_omitted": len(tree.missing), "files": shown},
    )
