"""The bytes of a bundle: the same members give the same bytes, on every machine and day."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelmedic import __version__
from modelmedic.bundle.members import KIND, MANIFEST, MOST_RATIO, SCHEMA, LeftOut, Member

_DATE = (1980, 1, 1, 0, 0, 0)  # the first that ZIP knows; who needs a date finds it in the record
_UNIX = 3
_MODE = 0o100600


def packed(members: Iterable[Member]) -> bytes:
    """Return a ZIP archive of ``members``, in their order."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            archive.writestr(_info(member), member.data)
    return stream.getvalue()


def manifest(
    record: Mapping[str, Any] | None, members: Sequence[Member], left_out: Sequence[LeftOut]
) -> Member:
    """Return the manifest of a bundle with these members.

    Args:
        record: The masked record of its run; None when the bundle does not hold it.
        members: All others.
        left_out: What was there and is not in it.
    """
    machine = str((record or {}).get("environment", {}).get("machine_id", ""))
    value = {
        "schema": SCHEMA,
        "kind": KIND,
        "modelmedic": __version__,
        "run_id": record["run_id"] if record else None,
        "profile": record["profile"] if record else None,
        "machine": machine,
        "members": [member.to_json() for member in members],
        "left_out": [entry.to_json() for entry in left_out],
    }
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return Member(MANIFEST, "what is in this archive", f"{text}\n".encode())


def _info(member: Member) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(member.name, _DATE)
    info.create_system = _UNIX  # also on Windows
    info.external_attr = _MODE << 16
    # A log that says one thing a thousand times unfolds like a bomb, and would be taken for one.
    is_like_a_bomb = len(member.data) > MOST_RATIO * len(zlib.compress(member.data))
    info.compress_type = zipfile.ZIP_STORED if is_like_a_bomb else zipfile.ZIP_DEFLATED
    return info
