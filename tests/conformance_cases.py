"""For each recovery of ours: how an install gets the fault, and what must make it refuse."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from modelmedic.testing.conformance import Case

SHARD = "model/diffusion_pytorch_model-00002-of-00003.safetensors"
LOCK = "model/.cache/huggingface/download/x.safetensors.lock"
STRAY = "wrong-name.bin"
PROFILES = Path(__file__).parent / "conformance_profiles"
RECORD = "modelmedic-left-out.json"


def remove_outputs(install):
    (install / "outputs").rmdir()


def put_a_file_in_its_place(install):
    (install / "outputs").write_text("somebody's notes")


def leave_a_soft_lock(install):
    lock = install / LOCK
    lock.parent.mkdir(parents=True)
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lock.write_text(f"{ended.stdout.strip()}\n{socket.gethostname()}\n")  # as filelock does
    long_ago = time.time() - 100_000
    os.utime(lock, (long_ago, long_ago))


@contextlib.contextmanager
def lock_it(install):
    import fcntl

    with (install / LOCK).open("r+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


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
    os.truncate(install / SHARD, 1000)


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


def lose_a_shard(install):
    (install / SHARD).unlink()


def leave_the_model_out_already(install):
    (install / RECORD).write_text('{"schema": 1, "models": ["demo"]}')


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
    ),
    Case(
        recovery="refetch_model_file",
        check=f"weights.intact[{SHARD}]",
        category="corruption",
        break_install=cut_a_shard,
        spoil_options=("--offline",),
    ),
    Case(
        recovery="copy_identical_file",
        check=f"weights.intact[{SHARD}]",
        category="corruption",
        break_install=leave_a_twin_elsewhere,
        spoil=flip_a_byte_of_the_twin,
        spoil_options=("--offline",),
    ),
    Case(
        recovery="bring_up_model",
        check=f"weights.present[{SHARD}]",
        category="validation",
        break_install=lose_two_shards,
        spoil_options=("--offline",),
    ),
    Case(
        recovery="replace_pointer_or_page",
        check=f"weights.intact[{SHARD}]",
        category="corruption",
        break_install=leave_a_pointer,
        spoil_options=("--offline",),
    ),
    Case(
        recovery="fetch_from_alternative_source",
        check=f"weights.intact[{SHARD}]",
        category="corruption",
        break_install=cut_a_shard,
        spoil_options=("--offline",),
        profile=str(PROFILES / "two-sources.toml"),
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
)
