"""Which failures pass by themselves: each rule with one that does and one that does not."""

from __future__ import annotations

import asyncio
import email.message
import email.utils
import errno
import hashlib
import http.client
import io
import os
import socket
import ssl
import subprocess
import time
import urllib.error
from types import SimpleNamespace

import fetch_support
import pytest
import requests
import urllib3

from modelmedic import patience
from modelmedic.errors import CannotTell, OperationTimedOut, Unhealthy
from modelmedic.http_answer import TransferFailed
from modelmedic.reliability.retry import RetryPolicy
from modelmedic.reliability.transience import asked_by_server, why_final
from modelmedic.transfer import Wanted, fetch


def answer(status, **headers):
    found = requests.Response()
    found.status_code = status
    found.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return found


def http_error(status, **headers):
    return requests.HTTPError(f"HTTP {status}", response=answer(status, **headers))


def of_hub(status):
    from huggingface_hub.errors import HfHubHTTPError

    error = HfHubHTTPError.__new__(HfHubHTTPError)
    Exception.__init__(error, f"HTTP {status}")
    error.response = SimpleNamespace(status_code=status, headers={"retry-after": "7"})
    return error


def of_urllib(status, headers=()):
    message = email.message.Message()
    for name, value in headers:
        message[name] = value
    return urllib.error.HTTPError("http://x.example", status, "told", message, io.BytesIO())


def caused(outer, inner):
    outer.__cause__ = inner
    return outer


PASSES = {
    "reset": ConnectionResetError(errno.ECONNRESET, "reset"),
    "refused": ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
    "no route for now": OSError(errno.ENETUNREACH, "unreachable"),
    "timeout": TimeoutError("timed out"),
    "socket timeout": TimeoutError("timed out"),
    "asyncio timeout": asyncio.TimeoutError(),
    "child timeout": subprocess.TimeoutExpired(["pip"], 5),
    "cut body": http.client.IncompleteRead(b"abc", 5),
    "closed": http.client.RemoteDisconnected("closed"),
    "no DNS server answers": socket.gaierror(socket.EAI_AGAIN, "temporary failure"),
    "a broken handshake": ssl.SSLError(1, "[SSL] record layer failure"),
    "503": http_error(503),
    "429": http_error(429),
    "408": http_error(408),
    "425": http_error(425),
    "of a CDN": http_error(522),
    "503 of urllib": of_urllib(503),
    "429 of the Hub": of_hub(429),
    "requests": requests.ConnectionError("reset"),
    "read timeout": requests.ReadTimeout("slow"),
    "urllib3": urllib3.exceptions.ProtocolError("broken", ConnectionResetError(104, "reset")),
    "wrapped": caused(RuntimeError("download failed"), ConnectionResetError(104, "reset")),
    "a limit of ours": OperationTimedOut("validation", 1, 2),
}
STAYS = {
    "a refused certificate": ssl.SSLCertVerificationError(1, "certificate verify failed"),
    "the same inside requests": requests.exceptions.SSLError(
        urllib3.exceptions.MaxRetryError(
            None, "/", urllib3.exceptions.SSLError(ssl.SSLCertVerificationError(1, "expired"))
        )
    ),
    "no such name": socket.gaierror(socket.EAI_NONAME, "not known"),
    "the same inside requests: name": requests.ConnectionError(
        urllib3.exceptions.MaxRetryError(
            None,
            "/",
            caused(
                urllib3.exceptions.NameResolutionError(
                    "x.example", None, socket.gaierror(socket.EAI_NONAME, "not known")
                ),
                socket.gaierror(socket.EAI_NONAME, "not known"),
            ),
        )
    ),
    "disk full": OSError(errno.ENOSPC, "no space"),
    "denied": PermissionError(errno.EACCES, "denied"),
    "not found": FileNotFoundError(errno.ENOENT, "gone"),
    "401": http_error(401),
    "403": http_error(403),
    "404": http_error(404),
    "407": http_error(407),
    "416": http_error(416),
    "451": http_error(451),
    "501": http_error(501),
    "511, a captive portal": http_error(511),
    "404 of urllib": of_urllib(404),
    "401 of the Hub": of_hub(401),
    "a circle": requests.TooManyRedirects("30 redirects"),
    "tried again already": requests.exceptions.RetryError("too many 500 error responses"),
    "a wrong address": requests.exceptions.InvalidURL("no host"),
    "no JSON": requests.exceptions.JSONDecodeError("expecting value", "<html>", 0),
    "a bug": ValueError("wrong"),
    "a typo": AttributeError("no such method"),
    "out of memory": MemoryError(),
    "Ctrl-C": KeyboardInterrupt(),
    "a cancelled task": asyncio.CancelledError(),
    "an end": SystemExit(1),
    "given up by our own transfer": TransferFailed("no source"),
    "ours, over a network error": caused(CannotTell("no answer"), ConnectionResetError(104, "r")),
    "a verdict": Unhealthy("The server does not answer."),
}


@pytest.mark.parametrize("name", PASSES)
def test_what_passes_may_be_tried_again(name):
    assert why_final(PASSES[name]) == ""
    assert RetryPolicy().is_transient(PASSES[name])


@pytest.mark.parametrize("name", STAYS)
def test_what_stays_is_not_tried_again_and_it_is_said_why(name):
    assert why_final(STAYS[name])
    assert not RetryPolicy().is_transient(STAYS[name])


def test_the_hubs_own_refusals_to_use_the_network_stay():
    from huggingface_hub import errors

    for kind in (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError):
        error = kind.__new__(kind)
        Exception.__init__(error, "offline")
        assert why_final(error)


def test_an_error_that_was_merely_being_handled_does_not_decide():
    try:
        try:
            raise ssl.SSLCertVerificationError(1, "of an earlier mirror")
        except ssl.SSLError:
            raise ConnectionResetError(errno.ECONNRESET, "reset")  # noqa: B904
    except ConnectionResetError as error:
        assert why_final(error) == ""  # noqa: PT017


# -- what servers ask for --------------------------------------------------------------------------


def test_a_wait_is_read_wherever_libraries_keep_it():
    assert asked_by_server(http_error(429, Retry_After="12")) == 12
    assert asked_by_server(of_urllib(503, [("retry-after", "3")])) == 3
    assert asked_by_server(of_hub(429)) == 7
    assert asked_by_server(caused(RuntimeError("x"), http_error(503, Retry_After="4"))) == 4
    assert asked_by_server(ConnectionResetError()) is None
    assert asked_by_server(http_error(503, Retry_After="soon")) is None


def test_a_date_is_read_by_the_servers_own_clock():
    now = time.time() - 86_400  # it is a day behind
    told = {"Retry_After": email.utils.formatdate(now + 40, usegmt=True)}
    told["Date"] = email.utils.formatdate(now, usegmt=True)
    assert asked_by_server(http_error(503, **told)) == pytest.approx(40, abs=1)


def test_the_rate_limit_of_the_hub_is_read_as_its_own_client_reads_it():
    assert asked_by_server(http_error(429, ratelimit='"api";r=0;t=55')) == 55
    assert asked_by_server(http_error(429, ratelimit='"api"; r=0 ; t=55')) == 55
    assert asked_by_server(http_error(429, ratelimit='"api";r=20;t=55')) is None


def test_a_transfer_waits_for_the_rate_limit_too(tmp_path):
    assert patience.PACE.asked_seconds == RetryPolicy().pace.asked_seconds
    busy = fetch_support.reply("429 Too Many", 'RateLimit: "resolvers";r=0;t=9')
    answers = [busy, fetch_support.reply("200 OK", body=b"abc")]
    wanted, slept = Wanted(3, hashlib.sha256(b"abc").hexdigest()), []
    handle = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    try:
        with fetch_support.raw(lambda _s, connection, _h: connection.sendall(answers.pop(0))) as to:
            assert fetch(to.url, handle, wanted, extras={"sleep": slept.append}) == 3
    finally:
        os.close(handle)
    assert slept == [9]
