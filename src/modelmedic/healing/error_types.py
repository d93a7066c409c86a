"""Categories by the type of an exception, told by name: nothing is imported to ask."""

from __future__ import annotations

from functools import cache

from modelmedic.findings import EnhancedErrorCategory as Category

# Package of the class (its first part: modules inside move), and the class. "" is Python itself.
# Of one error the class nearest to it counts, so a base class may stand here beside its heirs.
_TYPES = {
    Category.NETWORK: {
        "": "ConnectionError gaierror herror SSLError URLError ContentTooShortError IncompleteRead "
        "RemoteDisconnected BadStatusLine HTTPException",
        "requests": "ConnectionError SSLError ProxyError ChunkedEncodingError ContentDecodingError "
        "TooManyRedirects JSONDecodeError RetryError",
        "urllib3": "HTTPError",
        "httpx": "TransportError TooManyRedirects",
        "httpcore": "NetworkError ProtocolError ProxyError",
        "aiohttp": "ClientError",
        "huggingface_hub": "FileMetadataError LocalEntryNotFoundError OfflineModeIsEnabled",
    },
    Category.TIMEOUT: {
        "": "TimeoutError TimeoutExpired",
        "asyncio": "TimeoutError",
        "concurrent": "TimeoutError",
        "requests": "Timeout ConnectTimeout ReadTimeout",
        "urllib3": "TimeoutError",
        "httpx": "TimeoutException",
        "httpcore": "TimeoutException",
        "aiohttp": "ServerTimeoutError",
    },
    Category.AUTHENTICATION: {
        "huggingface_hub": "GatedRepoError LocalTokenNotFoundError DisabledRepoError",
    },
    Category.CONFIGURATION: {
        "": "JSONDecodeError TOMLDecodeError UnicodeDecodeError UnicodeEncodeError",
        "configparser": "Error",
        "tomli": "TOMLDecodeError",
        "yaml": "YAMLError",
        "requests": "InvalidURL MissingSchema InvalidSchema InvalidProxyURL",
        "huggingface_hub": "RepositoryNotFoundError RevisionNotFoundError EntryNotFoundError "
        "RemoteEntryNotFoundError HFValidationError",
    },
    Category.DEPENDENCY: {
        "": "ModuleNotFoundError",
        "pkg_resources": "DistributionNotFound",
    },
    Category.VERSION_MISMATCH: {
        "pkg_resources": "VersionConflict",
        "packaging": "InvalidVersion",
    },
    Category.VALIDATION: {
        "pydantic": "ValidationError",
        "pydantic_core": "ValidationError",
        "jsonschema": "ValidationError",
        "huggingface_hub": "IncompleteSnapshotError",
    },
    Category.CORRUPTION: {
        "": "UnpicklingError BadGzipFile",
        "zipfile": "BadZipFile",
        "tarfile": "ReadError",
        "zlib": "error",
        "lzma": "LZMAError",
        "safetensors_rust": "SafetensorError",
        "safetensors": "SafetensorError",
    },
    Category.RESOURCE_EXHAUSTION: {
        "": "MemoryError",
        "torch": "OutOfMemoryError",
        "numpy": "_ArrayMemoryError",
        "cupy": "OutOfMemoryError",
    },
    Category.PERMISSION: {
        "": "PermissionError",
    },
}
# The modules of Python itself that define the classes filed under "".
_PYTHON = frozenset(
    {
        "builtins", "gzip", "http", "json", "pickle", "socket", "ssl", "subprocess", "tomllib",
        "urllib",
    }
)  # fmt: skip
# What a class is called in a printed traceback, where several packages use one name.
_AMBIGUOUS = frozenset({"Error", "error", "HTTPError", "ReadError", "ValidationError"})


def of_type(error: BaseException) -> Category | None:
    """Return the category of the nearest known class of an error; None when none is known."""
    if isinstance(error, ModuleNotFoundError):
        return _of_missing_module(error)
    known = _by_class()
    for kind in type(error).__mro__:
        found = known.get((_package(kind.__module__), kind.__qualname__))
        if found is not None:
            return found
    return None


def of_name(name: str) -> Category | None:
    """Return the category of a class by its name as a traceback prints it, dotted or bare.

    None when no class of that name is known, or classes of several meanings are.
    """
    module, _dot, bare = name.rpartition(".")
    known = _by_class()
    if module:
        return known.get((_package(module), bare))
    if bare in _AMBIGUOUS:
        return None
    return known.get(("", bare)) or next(
        (category for (_package_name, kind), category in known.items() if kind == bare), None
    )


def _package(module: str) -> str:
    first = module.partition(".")[0].lstrip("_")  # _pickle, _lzma: how Python itself names them
    return "" if first in _PYTHON else first


def _of_missing_module(error: ModuleNotFoundError) -> Category:
    """Tell a missing package from a package of another version.

    Python names the first part that is missing: where a dotted name is missing, the package
    itself is there.
    """
    return Category.VERSION_MISMATCH if "." in (error.name or "") else Category.DEPENDENCY


@cache
def _by_class() -> dict[tuple[str, str], Category]:
    return {
        (package, name): category
        for category, packages in _TYPES.items()
        for package, names in packages.items()
        for name in names.split()
    }
