"""Which certificate authorities Python programs on this machine believe, and from where."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelmedic.text import printable

if TYPE_CHECKING:
    import ssl

# Where Linux distributions and macOS keep the system's bundle when OpenSSL was built elsewhere.
# Source: Go crypto/x509 root_linux.go, root_darwin notes.
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
# X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h, for which Python has no name.
_NO_CHECK_TIME = 0x200000
SYSTEM = "the system's own store"
CERTIFI = "certifi's bundle"


@dataclass(frozen=True, slots=True)
class TrustStore:
    """One set of certificate authorities; ``label`` says in words where it comes from."""

    label: str
    file: Path | None = None
    folders: tuple[Path, ...] = ()
    is_from_system: bool = False


class BadTrustStore(Exception):  # noqa: N818 - named for what it means
    """A configured set of authorities cannot be read; the text names the setting and the path."""


def stores(environ: Mapping[str, str] | None = None) -> tuple[TrustStore, ...]:
    """Return the trust stores in the order clients take them; the first one gives the verdict.

    REQUESTS_CA_BUNDLE, then CURL_CA_BUNDLE, are what requests (huggingface_hub before 1.0, pip)
    takes; SSL_CERT_FILE and SSL_CERT_DIR are what newer Hub clients take; without any of them it
    is certifi's bundle. The system's own store comes last: it tells what the machine trusts.

    Source: requests 2.32 ``sessions.py:merge_environment_settings``; httpx, "SSL".
    """
    environ = os.environ if environ is None else environ
    found = [
        _named(name, environ[name])
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        if environ.get(name)
    ][:1]
    if environ.get("SSL_CERT_FILE"):
        found.append(_named("SSL_CERT_FILE", environ["SSL_CERT_FILE"], environ))
    elif environ.get("SSL_CERT_DIR"):
        found.append(_named("SSL_CERT_DIR", "", environ))
    return (*found, *_certifi(), TrustStore(SYSTEM, _system_bundle(), (), is_from_system=True))


def context(store: TrustStore, *, ignores_dates: bool = False) -> ssl.SSLContext:
    """Return a TLS context that verifies chain and host name against one store.

    Args:
        store: The authorities to believe.
        ignores_dates: Only to ask a server for its time, when its certificate is outside its
            dates by our clock: chain and host name are verified all the same.

    Raises:
        BadTrustStore: The file or folder is missing or holds no certificates.
    """
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ignores_dates:
        made.verify_flags |= _NO_CHECK_TIME
    if store.is_from_system:
        made.load_default_certs()  # on Windows: the certificate store
    folders = [folder for folder in store.folders if folder.is_dir()]
    try:
        if store.file is not None:
            _load(made, store.file)
        for folder in folders:
            made.load_verify_locations(capath=folder)
    except (OSError, ssl.SSLError) as error:
        raise BadTrustStore(
            f"{store.label} cannot be used: {getattr(error, 'strerror', None) or error}"
        ) from error
    if store.file is None and not folders and not store.is_from_system:
        raise BadTrustStore(f"{store.label} cannot be used: No such file or directory")
    return made


def dateless() -> ssl.SSLContext:
    """Return the context a Python program has by default, with the dates left aside."""
    import ssl

    made = ssl.create_default_context()
    made.verify_flags |= _NO_CHECK_TIME
    return made


def _load(made: ssl.SSLContext, path: Path) -> None:
    if path.is_dir():
        made.load_verify_locations(capath=path)
    else:
        made.load_verify_locations(cafile=path)


def _named(name: str, value: str, environ: Mapping[str, str] | None = None) -> TrustStore:
    folders = (environ or {}).get("SSL_CERT_DIR", "")
    return TrustStore(
        label=f"{name}={printable(value or folders)}",
        file=Path(value) if value else None,
        folders=tuple(Path(part) for part in folders.split(os.pathsep) if part),
    )


def _certifi() -> tuple[TrustStore, ...]:
    try:
        import certifi
    except ImportError:  # some distributions unbundle it
        return ()
    return (TrustStore(CERTIFI, Path(certifi.where())),)


def _system_bundle() -> Path | None:
    """Return the system's bundle file; None on Windows, whose store is no file."""
    import ssl

    paths = [ssl.get_default_verify_paths().openssl_cafile, *_SYSTEM_BUNDLES]
    return next((Path(path) for path in paths if path and Path(path).is_file()), None)
