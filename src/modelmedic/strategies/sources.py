"""Where a model file can be had: addresses of the sources a profile names, in their order."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

from modelmedic.context import Context, ExpectedFile
from modelmedic.errors import CannotTell
from modelmedic.facts import endpoint


def urls(context: Context, wanted: ExpectedFile) -> tuple[str, ...]:
    """Return the addresses to try for one file; empty when the profile names no usable source.

    ``HF_ENDPOINT`` stands in for the Hub, as it does for the Hub's own client; an embedded Hub
    (loopback) is never replaced.

    Source: routes of huggingface_hub 2.4 (resolve) and of ModelScope's client 0.5.1 (repo).
    """
    found = []
    for source in wanted.model.sources:
        listed = context.profile.endpoint(source.endpoint)
        if listed is None:
            continue
        try:
            address = endpoint.address_of(listed)
        except (ValueError, CannotTell):
            continue  # network.http says what is wrong with this address
        base = address.origin + address.path
        if source.kind == "hub":
            revision = quote(source.revision, safe="")
            found.append(f"{base}/{source.repo}/resolve/{revision}/{quote(wanted.file.path)}")
        else:
            found.append(
                f"{base}/api/v1/models/{source.repo}/repo?Revision={quote_plus(source.revision)}"
                f"&FilePath={quote_plus(wanted.file.path)}"
            )
    return tuple(found)
