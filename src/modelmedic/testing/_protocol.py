"""The Hub's protocol as a function: from a request and the repos to an answer.

Source: the requests and headers that huggingface_hub 0.36.2 and 2.4.0 send and read, and
https://huggingface.co/docs/hub/api.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, unquote, urlsplit

from modelmedic.testing._repos import HubFile, Repo, Snapshot

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.IGNORECASE)
_ID = r"(?P<repo>[^/]+(?:/[^/]+)?)"
_API = rf"/api/models/{_ID}"
_BAD_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105 - a message


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked: ``target`` is path and query as sent, header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path as sent, still quoted."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's values by name."""
        return parse_qs(urlsplit(self.target).query)

    @property
    def token(self) -> str | None:
        """The bearer token; None without one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send: ``content`` is a body, or the part ``start`` to ``stop`` of a file."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | HubFile = b""
    start: int = 0
    stop: int = 0
    about: HubFile | None = None

    @property
    def size_bytes(self) -> int:
        """Length of the body."""
        return len(self.content) if isinstance(self.content, bytes) else self.stop - self.start

    @property
    def is_content(self) -> bool:
        """Whether it carries what was asked for, not a redirect or an error."""
        return self.status in {200, 206}


@dataclass(frozen=True, slots=True)
class Site:
    """What there is to serve, and to whom.

    Args:
        repos: By repo id.
        member: The token that is admitted to gated repos.
        outsider: A token that is known but not admitted.
        hub: Address of the hub, without a slash at the end.
        cdn: Address of the content network, another origin.
        page_size: Entries in one page of a tree listing.
    """

    repos: Mapping[str, Repo]
    member: str
    outsider: str
    hub: str
    cdn: str
    page_size: int


def hub_answer(site: Site, request: Request) -> Answer:
    """Return the hub's answer: API, metadata and small files; redirects for files in LFS."""
    if request.token not in {None, site.member, site.outsider}:
        return refusal(401, "", _BAD_TOKEN)
    for method, pattern, handle in _ROUTES:
        if request.method in method and (match := pattern.fullmatch(request.path)):
            at = {name: unquote(value or "") for name, value in match.groupdict().items()}
            return handle(site, request, at)
    return refusal(404, "", "Sorry, we can't find the page you are looking for.")


def cdn_answer(site: Site, request: Request) -> Answer:
    """Return the content network's answer to a signed address.

    Like the storage behind a real Hub it refuses an Authorization header, so a client that
    carries its token across the redirect is found out.
    """
    if "authorization" in request.headers:
        return Answer(400, {"Content-Type": "application/xml"}, b"<Error>InvalidArgument</Error>")
    sha256 = request.path.rpartition("/")[2]
    if request.query.get("Signature") != [_signature(sha256)]:
        return Answer(403, {"Content-Type": "application/xml"}, b"<Error>AccessDenied</Error>")
    for repo in site.repos.values():
        for snapshot in repo.revisions.values():
            for file in snapshot.files.values():
                if file.is_lfs and file.sha256 == sha256:
                    return _file_answer(file, {}, request)
    return Answer(404, {"Content-Type": "application/xml"}, b"<Error>NoSuchKey</Error>")


def pointer_answer(answer: Answer) -> Answer:
    """Return what a mirror sends that serves Git and not LFS: the pointer's text as the file."""
    if answer.about is None or not answer.about.is_lfs:
        return answer
    kept = {name: value for name, value in answer.headers.items() if name == "X-Repo-Commit"}
    return Answer(200, {**kept, "ETag": f'"{answer.about.git_oid}"'}, answer.about.pointer)


def refusal(status: int, code: str, text: str, **headers: str) -> Answer:
    """Return an error as the Hub words it: in JSON, and in headers that clients read."""
    named = {"X-Error-Code": code} if code else {}
    extra = {name.replace("_", "-"): value for name, value in headers.items()}
    return _json({"error": text}, status, {**named, "X-Error-Message": text, **extra})


def _json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    about = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    return Answer(status, about, json.dumps(value).encode())


def _whoami(site: Site, request: Request, _: Mapping[str, str]) -> Answer:
    if request.token is None:
        return refusal(401, "", _BAD_TOKEN)
    name = "member" if request.token == site.member else "outsider"
    access = {"displayName": "loopback", "role": "read"}
    auth = {"type": "access_token", "accessToken": access}
    return _json({"type": "user", "id": name, "name": name, "orgs": [], "auth": auth})


def _auth_check(site: Site, request: Request, at: Mapping[str, str]) -> Answer:
    repo = site.repos.get(at["repo"])
    if repo is None:
        return _no_repo(request)
    return _closed(site, repo, request) or _json({})


def _info(site: Site, request: Request, at: Mapping[str, str]) -> Answer:
    found = _find(site, request, at)
    if isinstance(found, Answer):
        return found
    repo, snapshot = found
    return _json(
        {
            "_id": snapshot.commit[:24],
            "id": repo.repo_id,
            "modelId": repo.repo_id,
            "sha": snapshot.commit,
            "private": False,
            "gated": "manual" if repo.is_gated else False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [{"rfilename": path} for path in snapshot.files],
        }
    )


def _tree(site: Site, request: Request, at: Mapping[str, str]) -> Answer:
    found = _find(site, request, at)
    if isinstance(found, Answer):
        return found
    _, snapshot = found
    folder = at["path"].strip("/")
    is_recursive = request.query.get("recursive", ["false"])[0].lower() in {"true", "1"}
    entries = _listing(snapshot, folder, is_recursive=is_recursive)
    if folder and not entries:
        return _no_entry(folder, snapshot)
    first = _cursor(request)
    last = first + site.page_size
    more: dict[str, str] = {}
    if last < len(entries):
        follow = f"{site.hub}{request.path}?recursive={str(is_recursive).lower()}&cursor={last}"
        more["Link"] = f'<{follow}>; rel="next"'
    return _json(entries[first:last], 200, more)


def _cursor(request: Request) -> int:
    text = request.query.get("cursor", ["0"])[0]
    return int(text) if text.isdecimal() else 0


def _listing(snapshot: Snapshot, folder: str, *, is_recursive: bool) -> list[dict[str, object]]:
    """Return the entries below ``folder``: folders and files, by path."""
    start = f"{folder}/" if folder else ""
    entries: dict[str, dict[str, object]] = {}
    for path, file in snapshot.files.items():
        if not path.startswith(start):
            continue
        parts = path[len(start) :].split("/")
        for depth in range(1, len(parts) if is_recursive else min(2, len(parts))):
            above = start + "/".join(parts[:depth])
            oid = hashlib.sha1(above.encode(), usedforsecurity=False).hexdigest()
            entries[above] = {"type": "directory", "oid": oid, "size": 0, "path": above}
        if is_recursive or len(parts) == 1:
            entries[path] = _entry(file)
    return [entries[path] for path in sorted(entries)]


def _entry(file: HubFile) -> dict[str, object]:
    entry: dict[str, object] = {
        "type": "file", "oid": file.git_oid, "size": file.size_bytes, "path": file.path,
    }  # fmt: skip
    if file.is_lfs:
        entry["lfs"] = {
            "oid": file.sha256, "size": file.size_bytes, "pointerSize": len(file.pointer),
        }  # fmt: skip
    return entry


def _paths_info(site: Site, request: Request, at: Mapping[str, str]) -> Answer:
    found = _find(site, request, at)
    if isinstance(found, Answer):
        return found
    _, snapshot = found
    wanted = parse_qs(request.body.decode("utf-8", "replace")).get("paths", [])
    return _json([_entry(snapshot.files[path]) for path in wanted if path in snapshot.files])


def _resolve(site: Site, request: Request, at: Mapping[str, str]) -> Answer:
    found = _find(site, request, at)
    if isinstance(found, Answer):
        return found
    repo, snapshot = found
    if (closed := _closed(site, repo, request)) is not None:
        return closed
    file = snapshot.files.get(at["path"])
    if file is None:
        return _no_entry(at["path"], snapshot)
    headers = {"X-Repo-Commit": snapshot.commit}
    if not file.is_lfs:
        return _file_answer(file, headers, request)
    headers |= {
        "X-Linked-Etag": file.etag,
        "X-Linked-Size": str(file.size_bytes),
        "ETag": f'"{file.git_oid}"',
        "Location": _cdn_address(site, repo, file),
    }
    text = f"Found. Redirecting to {headers['Location']}"
    return Answer(302, headers, text.encode(), about=file)


def _cdn_address(site: Site, repo: Repo, file: HubFile) -> str:
    """Return a signed address; it names the file so that a fault can be aimed at it."""
    name = quote(file.path, safe="")
    where = f"{site.cdn}/{repo.repo_id}/{file.sha256}"
    return f"{where}?filename={name}&Signature={_signature(file.sha256)}"


def _signature(sha256: str) -> str:
    return hashlib.sha256(f"signed {sha256}".encode()).hexdigest()[:32]


def _file_answer(file: HubFile, headers: Mapping[str, str], request: Request) -> Answer:
    """Return the whole file, or the part that Range asks for; 416 if there is no such part."""
    size = file.size_bytes
    base = {
        **headers,
        "ETag": file.etag,
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }
    asked = request.headers.get("range") if request.method == "GET" else None
    if request.headers.get("if-range") not in {None, file.etag}:
        asked = None
    match = _RANGE.fullmatch(asked.strip()) if asked else None
    if match is None or match.groups() == ("", "") or _is_backwards(match):
        return Answer(200, base, file, 0, size, about=file)
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(int(last) + 1, size) if first and last else size
    if start >= size:
        return Answer(416, {**headers, "Content-Range": f"bytes */{size}"})
    part = {**base, "Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    return Answer(206, part, file, start, stop, about=file)


def _is_backwards(match: re.Match[str]) -> bool:
    first, last = match.groups()
    return bool(first and last) and int(first) > int(last)


def _find(site: Site, request: Request, at: Mapping[str, str]) -> tuple[Repo, Snapshot] | Answer:
    repo = site.repos.get(at["repo"])
    if repo is None:
        return _no_repo(request)
    revision = at.get("revision") or repo.commit
    snapshot = repo.find(revision)
    if snapshot is None:
        return refusal(404, "RevisionNotFound", f"Invalid rev id: {_ascii(revision)}")
    return repo, snapshot


def _closed(site: Site, repo: Repo, request: Request) -> Answer | None:
    """Return the refusal for a gated repo; None if it is open to this request."""
    if not repo.is_gated or request.token == site.member:
        return None
    start = f"Access to model {repo.repo_id} is restricted"
    if request.token is None:
        return refusal(401, "GatedRepo", f"{start}. You must be authenticated to access it.")
    return refusal(403, "GatedRepo", f"{start} and you are not in the authorized list.")


def _no_repo(request: Request) -> Answer:
    """Answer as the Hub does: to a stranger a missing repo looks like a private one."""
    return refusal(401 if request.token is None else 404, "RepoNotFound", "Repository not found")


def _no_entry(path: str, snapshot: Snapshot) -> Answer:
    text = f"Entry not found: {_ascii(path)}"
    return refusal(404, "EntryNotFound", text, X_Repo_Commit=snapshot.commit)


def _ascii(text: str) -> str:
    """Return ``text`` fit for a header: a path may hold newlines and any letter."""
    return quote(text, safe="/ ")


_Handle = Callable[[Site, Request, Mapping[str, str]], Answer]
_READ = frozenset({"GET", "HEAD"})
_ROUTES: tuple[tuple[frozenset[str], re.Pattern[str], _Handle], ...] = (
    (_READ, re.compile("/api/whoami-v2"), _whoami),
    (_READ, re.compile(rf"{_API}/auth-check(?:/read)?"), _auth_check),
    (_READ, re.compile(rf"{_API}/revision/(?P<revision>[^/]+)"), _info),
    (_READ, re.compile(rf"{_API}/tree/(?P<revision>[^/]+)(?P<path>/.*)?"), _tree),
    (
        frozenset({"POST"}),
        re.compile(rf"{_API}/paths-info/(?P<revision>[^/]+)"),
        _paths_info,
    ),
    (_READ, re.compile(rf"/{_ID}/resolve/(?P<revision>[^/]+)/(?P<path>.+)"), _resolve),
    (_READ, re.compile(_API), _info),
)
