"""Write the manifest of a good install: digests by which others repair theirs block by block."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from modelmedic import discovery
from modelmedic.context import OWN_FOLDER, Context, ExpectedFile
from modelmedic.errors import CannotTell, ModelmedicError
from modelmedic.facts import file_hashes, hashing_desk, manifest, safe_open
from modelmedic.facts.book import FactBook
from modelmedic.facts.digests import Digests
from modelmedic.facts.manifest import Manifest, ManifestFile
from modelmedic.profile.model import ModelFile, ModelRepo, Profile
from modelmedic.text import printable

_NOT_PUBLISHED = frozenset({OWN_FOLDER, ".cache", ".git", "__pycache__"})


def seal(folder: Path, profile: Profile | None, *, tell: Callable[[str], None]) -> list[Manifest]:
    """Return a manifest for each model that lies in a folder, after reading every byte.

    Args:
        folder: An install of ``profile``; without one, the folder of one model.
        profile: What the files must be; None: they are taken as they are.
        tell: Is told each file that was read, in a line.

    Raises:
        CannotTell: A file cannot be read.
        ModelmedicError: A file is missing, or is not what the profile says: nothing is sealed.
    """
    context = _context(folder, profile or _as_it_is(folder))
    facts = FactBook(context)
    if not context.expected_files():
        raise ModelmedicError(f"{printable(str(folder))} has no file to be sealed.")
    present = [each for each in context.expected_files() if _is_there(context, each)]
    largest = sorted(present, key=lambda each: -(each.file.size_bytes or 0))
    for each in largest[: file_hashes.MAX_BEGUN]:
        facts.start(file_hashes.read_sha256, each.subject)
    made: dict[str, list[ManifestFile]] = {}
    for each in present:
        entry = _entry(facts, each)
        tell(f"{entry.digests.sha256}  {printable(each.subject)}")
        made.setdefault(each.model.name, []).append(entry)
    models = [model for model in context.profile.models if model.name in made]
    return [_manifest(model, made[model.name]) for model in models]


def _manifest(model: ModelRepo, files: list[ManifestFile]) -> Manifest:
    source = model.sources[0] if model.sources else None
    return Manifest(
        model.name,
        source.repo if source else "",
        source.revision if source else "",
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        tuple(files),
    )


def _entry(facts: FactBook, expected: ExpectedFile) -> ManifestFile:
    """Return the digests of one file; refuse one that is not what the profile says."""
    found = hashing_desk.awaited(facts, file_hashes.read_sha256, expected.subject)
    git_blob = None
    file = expected.file
    if file.git_blob:
        git_blob = hashing_desk.awaited(
            facts, file_hashes.read_git_blob, expected.subject
        ).hexdigest
    for name, is_so, wanted in (
        ("size", found.size_bytes, file.size_bytes if file.is_certain else None),
        ("sha256", found.hexdigest, file.sha256 and file.sha256.lower()),
        ("Git blob hash", git_blob, file.git_blob and file.git_blob.lower()),
    ):
        if wanted is not None and is_so != wanted:
            raise ModelmedicError(
                f"{printable(expected.subject)} is not the file of the profile: its {name} is "
                f"{is_so}; the profile says {wanted}. Nothing was sealed.",
                "A manifest of damaged files would damage what others repair by it.",
            )
    digests = Digests(found.size_bytes, found.hexdigest, found.blocks)
    return ManifestFile(file.path, digests, git_blob)


def _is_there(context: Context, expected: ExpectedFile) -> bool:
    state = safe_open.look(context.place, expected.subject)
    if state.is_present:
        return True
    if expected.file.is_optional and state.state is safe_open.State.MISSING:
        return False
    raise ModelmedicError(f"{state.sentence()} Nothing was sealed.")


def _context(folder: Path, profile: Profile) -> Context:
    return discovery.discover(
        profile=profile,
        install_dir=str(folder),
        target_python=None,
        stage="installed",
        deep=True,
        offline=True,
        run_id="seal",
        command="modelmedic profile seal",
        cwd=Path.cwd(),
        environ={},
    )


def _as_it_is(folder: Path) -> Profile:
    """Return the profile of what lies in a folder now."""
    files = tuple(
        ModelFile(path, (folder / path).stat().st_size, is_certain=False)
        for path in sorted(_files(folder))
    )
    if len(files) > manifest.MAX_FILES:
        raise ModelmedicError(
            f"{printable(str(folder))} has {len(files):,} files; a manifest has at most "
            f"{manifest.MAX_FILES:,}.",
            "Most often it is not the folder of one model.",
        )
    name = folder.absolute().name or "model"
    model = ModelRepo(name, (".",), "native", files)
    return Profile(name=name, title=name, file=Path(), models=(model,) if files else ())


def _files(folder: Path) -> Iterator[str]:
    """Yield the files below a folder that a manifest can name, relative to it."""

    def refused(error: OSError) -> None:
        raise CannotTell(f"{printable(str(folder))} cannot be listed: {error}.") from error

    for place, folders, names in os.walk(folder, onerror=refused):
        folders[:] = [each for each in folders if each not in _NOT_PUBLISHED]
        for name in names:
            path = Path(place, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_file() and not manifest.leaves(relative):
                yield relative


def write(manifests: list[Manifest], output: Path | None) -> list[Path]:
    """Write manifests and return where: a file each, ``<model>.manifest.json``.

    Args:
        manifests: At least one.
        output: A folder; or, for one manifest, a file. None: the current folder.

    Raises:
        ModelmedicError: They cannot be written, or several were to go into one file.
    """
    place = output or Path.cwd()
    if len(manifests) > 1 and not place.is_dir():
        raise ModelmedicError(
            f"There are {len(manifests)} models, and {printable(str(place))} is no folder.",
            "Each gets a manifest of its own.",
        )
    targets = [
        place / f"{each.name}.manifest.json" if place.is_dir() else place for each in manifests
    ]
    for each, target in zip(manifests, targets, strict=True):
        _write(each, target)
    return targets


def _write(content: Manifest, target: Path) -> None:
    import json

    try:
        target.write_text(json.dumps(manifest.to_json(content), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ModelmedicError(
            f"{printable(str(target))} cannot be written: {error.strerror or error}."
        ) from error
