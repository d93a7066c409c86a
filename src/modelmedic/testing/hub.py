"""A Hub on loopback: the protocol that huggingface_hub speaks, with faults on request.

``python -m modelmedic.testing.hub`` runs one in the foreground.
"""

from __future__ import annotations

import argparse
import collections
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelmedic.errors import ModelmedicError
from modelmedic.testing._faults import Fault, FaultBook
from modelmedic.testing._handler import Desk, Entry, Server
from modelmedic.testing._protocol import Answer, Request, Site, cdn_answer, hub_answer
from modelmedic.testing._repos import Repo, files_in, take_snapshot

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["DEMO_REPO", "Fault", "LoopbackHub", "Record", "Repo", "demo_hub", "main"]

DEMO_REPO = "modelmedic/demo"
MEMBER_TOKEN = "hf_" + "LoopbackMember".ljust(34, "m")  # shaped as a real one, so it is masked
OUTSIDER_TOKEN = "hf_" + "LoopbackOutsider".ljust(34, "o")
_MAX_RECORDS = 10_000
_TREE_PAGE = 1000  # entries in a page of a real Hub's tree listing
_WRONG_USE = 4
_WAKE_SECONDS = 0.5  # on Windows a wait without end does not hear Ctrl-C


@dataclass(frozen=True, slots=True)
class Record:
    """One request that arrived.

    Args:
        side: ``hub`` or ``cdn``.
        method: ``GET``, ``HEAD`` or ``POST``.
        path: Path and query as they were sent.
        range: The Range header; None without one.
        authorization: Whether an Authorization header came with it.
        status: Of the answer; None if none was sent (yet).
        bytes_sent: Bytes of body given to the connection (so far).
    """

    side: str
    method: str
    path: str
    range: str | None
    authorization: bool
    status: int | None
    bytes_sent: int


class LoopbackHub:
    """A Hub on 127.0.0.1, and its content network on a second port, which is another origin.

    Use it as a context manager, or call ``start()`` and ``stop()``. After ``stop()`` no thread,
    socket or file is left; a later ``start()`` takes the same ports again.

    Args:
        port: Of the hub; 0 takes a free one.
        page_size: Entries in one page of a tree listing.
    """

    token = MEMBER_TOKEN
    """Is admitted to gated repos."""
    outsider_token = OUTSIDER_TOKEN
    """Is known, and not admitted to gated repos. Any other token is answered 401."""

    def __init__(self, *, port: int = 0, page_size: int = _TREE_PAGE) -> None:
        self._ports = {"hub": port, "cdn": 0}
        self._page_size = page_size
        self._repos: dict[str, Repo] = {}
        self._faults = FaultBook()
        self._entries: collections.deque[Entry] = collections.deque(maxlen=_MAX_RECORDS)
        self._stopped = threading.Event()
        self._servers: list[Server] = []

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """The address for ``HF_ENDPOINT``, without a slash at the end; stays after ``stop()``."""
        return f"http://127.0.0.1:{self._ports['hub']}"

    @property
    def cdn_endpoint(self) -> str:
        """The address to which files in LFS are redirected."""
        return f"http://127.0.0.1:{self._ports['cdn']}"

    @property
    def commit(self) -> str:
        """The commit of the repo added first.

        Raises:
            ModelmedicError: No repo was added.
        """
        if not self._repos:
            raise ModelmedicError("This hub has no repo, so it has no commit.")
        return next(iter(self._repos.values())).commit

    @property
    def requests(self) -> tuple[Record, ...]:
        """What arrived since the last ``clear()``, in order; at most the last 10,000."""
        return tuple(
            Record(e.side, e.method, e.path, e.range, e.authorization, e.status, e.bytes_sent)
            for e in list(self._entries)
        )

    def start(self) -> Self:
        """Listen on both ports and return self; nothing happens if it already does.

        Raises:
            ModelmedicError: A port that was asked for is taken.
        """
        if self._servers:
            return self
        self._stopped.clear()
        try:
            self._listen("cdn")
            self._listen("hub")
        except OSError as error:
            self.stop()
            raise ModelmedicError(
                f"The loopback hub cannot listen on {self.endpoint}: {error.strerror or error}.",
                "Most often another program holds the port.",
                "choose another port, or 0 for a free one.",
            ) from error
        return self

    def stop(self) -> None:
        """End every connection, stalls included, and stop listening."""
        self._stopped.set()
        while self._servers:
            self._servers.pop().close()

    def add_repo(
        self,
        repo_id: str,
        files: Mapping[str, bytes | Path],
        *,
        revision: str = "main",
        gated: bool = False,
    ) -> Repo:
        """Serve ``files`` as ``revision`` of a repo, beside its other revisions, and return it.

        Args:
            repo_id: ``name`` or ``owner/name``.
            files: Path inside the repo to content; a file on disk is hashed now, read when asked.
            revision: Branch or tag; the commit follows from the content and works as well.
            gated: Whether only ``token`` may read the files.

        Raises:
            ModelmedicError: The repo id cannot be one, or a file cannot be read.
        """
        snapshot = take_snapshot(repo_id, files)
        known = self._repos[repo_id].revisions if repo_id in self._repos else {}
        repo = Repo(repo_id, {**known, revision: snapshot}, gated)
        self._repos = {**self._repos, repo_id: repo}
        return repo

    def repo(self, repo_id: str) -> Repo:
        """Return a repo.

        Raises:
            ModelmedicError: There is none of that id.
        """
        if repo_id not in self._repos:
            raise ModelmedicError(f"This hub has no repo {repo_id!r}, only {sorted(self._repos)}.")
        return self._repos[repo_id]

    def fault(self, match: str, fault: Fault, *, times: int | None = 1) -> None:
        """Let the next ``times`` requests that fit have ``fault``; the first fitting one counts.

        A fault of the body waits for an answer that has one: it passes over HEAD, redirects and
        errors without being used up.

        Args:
            match: Regular expression, searched in ``SIDE METHOD PATH``, such as ``cdn GET .*vae``.
                The path is as sent (quoted), with its query; on the CDN it names the file too.
            fault: What goes wrong.
            times: How often; None means always.
        """
        self._faults.add(match, fault, times=times)

    def clear(self) -> None:
        """Forget the faults and the requests recorded so far."""
        self._faults.clear()
        self._entries.clear()

    def _listen(self, side: str) -> None:
        reply = cdn_answer if side == "cdn" else hub_answer

        def answer(request: Request) -> Answer:
            return reply(self._site(), request)

        desk = Desk(side, answer, self._faults.take, self._entries.append, self._stopped)
        server = Server(desk, self._ports[side])
        self._servers.append(server)
        self._ports[side] = server.server_port

    def _site(self) -> Site:
        return Site(
            self._repos,
            self.token,
            self.outsider_token,
            self.endpoint,
            self.cdn_endpoint,
            self._page_size,
        )


def demo_hub(*, port: int = 0) -> LoopbackHub:
    """Return a hub, not started, that serves the demo model as ``DEMO_REPO``."""
    from modelmedic.testing.specimens import demo_files

    hub = LoopbackHub(port=port)
    hub.add_repo(DEMO_REPO, demo_files())
    return hub


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the demo model, or a folder, until Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m modelmedic.testing.hub", description=__doc__)
    parser.add_argument("--demo", action="store_true", help="serve the demo model (the default)")
    parser.add_argument("--folder", type=Path, help="serve the files of this folder")
    parser.add_argument("--repo", default="local/folder", help="the repo id of --folder")
    parser.add_argument("--port", type=int, default=0, help="of the hub; a free one by default")
    options = parser.parse_args(arguments)
    try:
        hub = _wanted(options)
        hub.start()
    except ModelmedicError as error:
        sys.stderr.write(f"{error}\n")
        return _WRONG_USE
    stopped = threading.Event()
    try:
        sys.stdout.write(f"{hub.endpoint}\n")
        sys.stdout.flush()
        while not stopped.wait(_WAKE_SECONDS):
            pass
    except KeyboardInterrupt:
        pass
    finally:
        hub.stop()
    return 0


def _wanted(options: argparse.Namespace) -> LoopbackHub:
    hub = demo_hub(port=options.port) if options.demo or not options.folder else None
    if hub is None:
        hub = LoopbackHub(port=options.port)
    if options.folder:
        hub.add_repo(options.repo, files_in(options.folder.absolute()))
    return hub


if __name__ == "__main__":
    sys.exit(main())
