"""For each recovery of ours: how an install gets the fault, and what must make it refuse."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

from client_support import served
from environment_cases import CASES as ENVIRONMENT_CASES
from lock_breaks import LOCK, leave_a_soft_lock, lock_it
from network_cases import CASES as NETWORK_CASES
from package_cases import CASES as PACKAGE_CASES

from modelmedic.context import OWN_FOLDER
from modelmedic.facts import seals
from modelmedic.facts.digests import Blocks, Digests
from modelmedic.testing._repos import HubFile
from modelmedic.testing.conformance import Case
from modelmedic.testing.conformance.desk import hub
from modelmedic.testing.hub import DEMO_REPO, demo_hub
from modelmedic.testing.specimens import demo_files

SHARD = "model/diffusion_pytorch_model-00002-of-00003.safetensors"
INDEX = "model/diffusion_pytorch_model.safetensors.index.json"
_BLOCK_BYTES = 64 << 10
STRAY = "wrong-name.bin"
CACHED, COMMIT = "models--modelmedic--demo", demo_hub().commit
SNAPSHOT_SHARD = f"{CACHED}/snapshots/{COMMIT}/{SHARD.partition('/')[2]}"
REF = f"{CACHED}/refs/main"
LISTING = f"{CACHED}/trees/{COMMIT}.json"
PART = "model/.cache/huggingface/download/x.12345678.incomplete"
PROFILES = Path(__file__).parent / "conformance_profiles"
RECORD = "modelmedic-left-out.json"


def remove_outputs(install):
    (install / "outputs").rmdir()


def put_a_file_in_its_place(install):
    (install / "outputs").write_text("somebody's notes")


def tear_the_settings(install):
    (install / "settings.json").write_text('{"steps": 33, "size": "32*32", "se')


def make_the_settings_huge(install):
    (install / "settings.json").write_text('{"steps": 33, "note": "' + "x" * (2 << 20))


def misplace_a_shard(install):
    (install / SHARD).rename(install / STRAY)


def flip_a_byte_of_the_stray(install):
    with (install / STRAY).open("r+b") as stream:
        stream.seek(-5, os.SEEK_END)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))


def cut_a_shard(install):
    os.truncate(install / SHARD, (install / SHARD).stat().st_size - 70_001)


def lose_a_shard(install):
    (install / SHARD).unlink()


def flip_a_byte(install):
    with (install / SHARD).open("r+b") as stream:
        stream.seek(300_000)
        byte = stream.read(1)[0]
        stream.seek(300_000)
        stream.write(bytes([byte ^ 1]))


def flip_a_byte_of_known_blocks(install):
    """As after a run with --deep over the good file: the digests of its blocks are kept."""
    data = (install / SHARD).read_bytes()
    blocks = [data[at : at + _BLOCK_BYTES] for at in range(0, len(data), _BLOCK_BYTES)]
    digests = b"".join(hashlib.sha256(block).digest() for block in blocks)
    known = Digests(
        len(data), hashlib.sha256(data).hexdigest(), Blocks("sha256", _BLOCK_BYTES, digests)
    )
    seals.keep_blocks(install.parent / "state", known)
    flip_a_byte(install)


def tear_the_index(install):
    os.truncate(install / INDEX, 500)


def prepare_cache(install):
    """Lay the demo model out as a cache of the Hub's client: blobs, a ref, a snapshot of links."""
    repo = install / CACHED
    for path, content in demo_files().items():
        listed = HubFile.of(path, content)
        etag = hashlib.sha256(content).hexdigest() if listed.is_lfs else listed.git_oid
        link = repo / "snapshots" / COMMIT / path
        for folder in (repo / "blobs", link.parent):
            folder.mkdir(parents=True, exist_ok=True)
        (repo / "blobs" / etag).write_bytes(content)
        link.symlink_to(os.path.relpath(repo / "blobs" / etag, link.parent))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)


def empty_the_ref(install):
    os.truncate(install / REF, 0)


def add_a_snapshot(install):
    (install / CACHED / "snapshots" / ("f" * 40)).mkdir()


def omit_a_shard(install):
    listed = {"format_version": 1, "files": {}}
    for path, content in demo_files().items():
        if path != SHARD.partition("/")[2]:
            file = HubFile.of(path, content)
            listed["files"][path] = {"size": file.size_bytes, "blob_id": file.git_oid}
    (install / LISTING).parent.mkdir()
    (install / LISTING).write_text(json.dumps(listed))


def link_the_listing(install):
    real = install / LISTING
    elsewhere = real.with_name("elsewhere.json")
    real.rename(elsewhere)
    real.symlink_to(elsewhere.name)


def unlink_a_shard(install):
    (install / SNAPSHOT_SHARD).unlink()


def flip_a_byte_of_the_blob(install):
    sha256 = hashlib.sha256(demo_files()[SHARD.partition("/")[2]]).hexdigest()
    blob = install / CACHED / "blobs" / sha256
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def leave_a_part(install):
    part = install / PART
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"x" * 5000)
    (install / LOCK).touch()  # as every download leaves one; held by nobody it blocks nobody
    long_ago = time.time() - 100_000
    os.utime(part, (long_ago, long_ago))


@contextlib.contextmanager
def download_again(install):
    import fcntl

    with (install / LOCK).open("r+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def lose_two_shards(install):
    (install / SHARD).unlink()
    (install / SHARD.replace("00002-of", "00003-of")).unlink()


def leave_a_twin_elsewhere(install):
    twin = twin_of(install)
    twin.parent.mkdir(parents=True)
    shutil.copyfile(install / SHARD, twin)
    cut_a_shard(install)


def twin_of(install):
    """Return where another install beside this one has the shard."""
    return install.parent / "another-install" / SHARD


def flip_a_byte_of_the_twin(install):
    with twin_of(install).open("r+b") as stream:
        stream.seek(100_000)
        stream.write(b"\0\1\2\3")


def leave_a_pointer(install):
    data = (install / SHARD).read_bytes()
    (install / SHARD).write_text(
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{hashlib.sha256(data).hexdigest()}\nsize {len(data)}\n"
    )


def leave_the_model_out_already(install):
    (install / RECORD).write_text('{"schema": 1, "models": ["demo"]}')


def other_readers_agree(install):
    """safetensors opens each file, its sha256 is the listed one, and the Hub's client agrees."""
    import safetensors

    listed = {Path(path).name: content for path, content in demo_files().items()}
    found = [p for p in install.rglob("*.safetensors") if OWN_FOLDER not in p.parts]
    assert len(found) == sum(name.endswith(".safetensors") for name in listed), found
    for path in found:
        with safetensors.safe_open(path, framework="numpy") as opened:
            assert opened.keys(), path
        wanted = hashlib.sha256(listed[path.name]).hexdigest()
        assert hashlib.sha256(path.read_bytes()).hexdigest() == wanted, path
    if (install / CACHED).is_dir():
        told = served(sys.executable).verify(DEMO_REPO, hub(), install)
        # The function came with huggingface_hub 1: an older client has nothing to ask.
        whole = {"checked": len(demo_files()), "mismatches": [], "missing": []}
        assert told == whole or "lacks" in told, told


CASES = (
    Case(
        recovery="create_missing_folder",
        check="install.folders[outputs]",
        category="validation",
        break_install=remove_outputs,
        spoil=put_a_file_in_its_place,
    ),
    Case(
        recovery="remove_stale_lock",
        check="install.locks",
        category="timeout",
        break_install=leave_a_soft_lock,
        spoil=lock_it,
    ),
    Case(
        recovery="restore_config",
        check="config.readable[settings.json]",
        category="configuration",
        break_install=tear_the_settings,
        spoil=make_the_settings_huge,
    ),
    Case(
        recovery="move_misplaced_model_file",
        check=f"weights.present[{SHARD}]",
        category="validation",
        break_install=misplace_a_shard,
        spoil=flip_a_byte_of_the_stray,
        spoil_options=("--offline",),  # else the next recovery of the chain fetches the file
        agrees=other_readers_agree,
    ),
    Case(
        recovery="refetch_model_file",
        check=f"weights.present[{SHARD}]",
        category="validation",
        break_install=lose_a_shard,
        spoil_options=("--offline",),
        agrees=other_readers_agree,
    ),
    Case(
        recovery="fetch_missing_tail",
        check=f"weights.intact[{SHARD}]",
        category="corruption",
        break_install=cut_a_shard,
        spoil_options=("--offline",),
        agrees=other_readers_agree,
    ),
    Case(
        recovery="repair_damaged_blocks",
        check=f"weights.sha256[{SHARD}]",
        category="corruption",
        break_install=flip_a_byte_of_known_blocks,
        options=("--deep",),
        spoil_options=("--offline",),
        agrees=other_readers_agree,
    ),
    Case(
        recovery="rewrite_differing_blocks",
        check=f"weights.sha256[{SHARD}]",
        category="corruption",
        break_install=flip_a_byte,
        options=("--deep",),
        spoil_options=("--offline",),
        agrees=other_readers_agree,
    ),
    Case(
        recovery="rebuild_weight_index",
        check=f"weights.intact[{INDEX}]",
        category="corruption",
        break_install=tear_the_index,
        spoil=cut_a_shard,
        spoil_options=("--offline",),  # else the next recovery of the chain fetches the file
        agrees=other_readers_agree,
    ),
    Case(
        recovery="relink_hub_snapshot",
        check=f"weights.present[{SNAPSHOT_SHARD}]",
        category="validation",
        prepare=prepare_cache,
        break_install=unlink_a_shard,
        spoil=flip_a_byte_of_the_blob,
        spoil_options=("--offline",),  # else a later recovery of the chain fetches the file
        agrees=other_readers_agree,
    ),
    Case(
        recovery="restore_hub_ref",
        check="weights.refs[demo]",
        category="corruption",
        prepare=prepare_cache,
        break_install=empty_the_ref,
        spoil=add_a_snapshot,
        agrees=other_readers_agree,
    ),
    Case(
        recovery="set_aside_hub_listing",
        check="weights.tree[demo]",
        category="corruption",
        prepare=prepare_cache,
        break_install=omit_a_shard,
        spoil=link_the_listing,
        agrees=other_readers_agree,
    ),
    Case(
        recovery="set_aside_orphaned_partials",
        check="install.leftovers",
        category="resource_exhaustion",
        break_install=leave_a_part,
        spoil=download_again,
    ),
    Case(
        recovery="copy_identical_file",
        check=f"weights.intact[{SHARD}]",
        category="corruption",
        break_install=leave_a_twin_elsewhere,
        spoil=flip_a_byte_of_the_twin,
        spoil_options=("--offline",),
        agrees=other_readers_agree,
    ),
    Case(
        recovery="bring_up_model",
        check=f"weights.present[{SHARD}]",
        category="validation",
        break_install=lose_two_shards,
        spoil_options=("--offline",),
        agrees=other_readers_agree,
    ),
    Case(
        recovery="replace_pointer_or_page",
        check=f"weights.intact[{SHARD}]",
        category="corruption",
        break_install=leave_a_pointer,
        spoil_options=("--offline",),
        agrees=other_readers_agree,
    ),
    Case(
        recovery="fetch_from_alternative_source",
        check=f"weights.present[{SHARD}]",
        category="validation",
        break_install=lose_a_shard,
        spoil_options=("--offline",),
        profile=str(PROFILES / "two-sources.toml"),
        agrees=other_readers_agree,
    ),
    Case(
        recovery="skip_optional_model",
        check=f"weights.present[{SHARD}]",
        category="validation",
        break_install=lose_a_shard,
        spoil=leave_the_model_out_already,
        options=("--offline", "--allow=destructive"),
        leaves="degraded",
        also_changes=(RECORD,),
        profile=str(PROFILES / "optional-model.toml"),
    ),
    *NETWORK_CASES,
    *PACKAGE_CASES,
    *ENVIRONMENT_CASES,
)
