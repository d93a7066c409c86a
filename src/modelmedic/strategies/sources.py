"""Where a model file can be had: addresses of the sources a profile names, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, quote_plus

from modelmedic.context import Context, ExpectedFile
from modelmedic.errors import CannotTell
from modelmedic.facts import endpoint
from modelmedic.facts.endpoint import Address
from modelmedic.profile.model import Endpoint, ModelSource


def urls(context: Context, wanted: ExpectedFile) -> tuple[str, ...]:
    """Return the addresses to try for one file; empty when the profile names no usable source.

    The mirror that ``HF_ENDPOINT`` names comes first, then the sources in the profile's order. An
    embedded Hub (loopback) has no mirror. A source is no more than an address: the hash decides.

    Source: routes of huggingface_hub 2.4 (resolve) and of ModelScope's client 0.5.1 (repo).
    """
    mirrors: list[str] = []
    others: list[str] = []
    for source in wanted.model.sources:
        listed = context.profile.endpoint(source.endpoint)
        if listed is None:
            continue
        own, mirror = _address(listed, {}), _address(listed, None)
        if own is not None:
            others.append(_url(source, own, wanted.file.path))
        if mirror is not None and mirror.setting:
            mirrors.append(_url(source, mirror, wanted.file.path))
    return tuple(dict.fromkeys(mirrors + others))


def _address(listed: Endpoint, environ: Mapping[str, str] | None) -> Address | None:
    """Return where an endpoint is asked for; None where that cannot be told."""
    try:
        return endpoint.address_of(listed, environ)
    except (ValueError, CannotTell):
        return None  # network.http says what is wrong with this address


def _url(source: ModelSource, address: Address, path: str) -> str:
    base = address.origin + address.path
    if source.kind == "hub":
        revision = quote(source.revision, safe="")
        return f"{base}/{source.repo}/resolve/{revision}/{quote(path)}"
    return (
        f"{base}/api/v1/models/{source.repo}/repo?Revision={quote_plus(source.revision)}"
        f"&FilePath={quote_plus(path)}"
    )
