"""Block digests of a content that should be there: from a manifest, else from our own proofs."""

from __future__ import annotations

from modelmedic.context import Context
from modelmedic.facts import seals
from modelmedic.facts.digests import Digests


def known(context: Context, sha256: str) -> Digests | None:
    """Return the digests of the content with this SHA-256; None when nobody told them.

    They say where damage may be, no more: a manifest comes from a stranger. What proves a repair
    is the SHA-256 of the whole file.
    """
    for manifest in context.manifests:
        for file in manifest.files:
            if file.digests.sha256 == sha256 and file.digests.blocks is not None:
                return file.digests  # type: ignore[no-any-return]
    return seals.blocks_for(context.state_dir, sha256)
