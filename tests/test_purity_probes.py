"""Impure probes in real runs; what a probe declares, and how far that goes."""

from __future__ import annotations

import pytest
from demo_support import snapshot
from purity_support import HEAD, assert_named, room

__all__ = ["room"]  # a fixture is used by its name

PROBES = """
@probe("local_read")
def read_plainly(facts): (facts.context.place / "new").write_text("x")

@probe("local_read")
def read_slyly(facts):
    with contextlib.suppress(BaseException):
        subprocess.run(["true"])
    return 1

@probe("local_read")
def read_through_a_thread(facts):
    thread = threading.Thread(target=lambda: socket.create_connection(("127.0.0.1", 9)))
    thread.start()
    thread.join()
    return 1
"""


@pytest.mark.parametrize(
    ("name", "deed"),
    [("plainly", "write"), ("slyly", "start true"), ("through_a_thread", "connect to 127.0.0.1")],
)
def test_a_probe_is_named_by_every_check_that_asks_it(room, name, deed):
    run = room.run(
        HEAD
        + PROBES
        + f"""
@pytest.mark.check("room.first", area="system")
def test_first(facts):
    '''It asks.'''
    facts.get(read_{name})

@pytest.mark.check("room.second", area="system")
def test_second(facts):
    '''It asks too, and does not care.'''
    with contextlib.suppress(Exception):
        facts.get(read_{name})
"""
    )
    words = f"The probe test_room.read_{name} broke its promise: it was about to {deed}"
    findings = assert_named(run, words)
    assert [finding["check"] for finding in findings] == ["room.first"]
    assert run.outcomes() == {"room.first": "unknown", "room.second": "passed"}
    assert not (room.folder / "install" / "new").exists()


@pytest.mark.parametrize("options", [(), ("-n2",)], ids=["", "n2"])
def test_a_probe_that_nobody_asks_is_a_finding_of_its_own(room, options):
    run = room.run(
        HEAD
        + PROBES
        + """
import time
def warm(facts): facts.start(read_slyly)

@pytest.mark.check("room.only", area="system")
def test_only(facts):
    '''It asks nobody.'''
    while not all(entry.done() for entry in facts._entries.values()): time.sleep(0.01)
""",
        *options,
    )
    findings = assert_named(run, "The probe test_room.read_slyly broke its promise")
    assert [finding["check"] for finding in findings] == ["purity.promise[1]"]
    assert run.outcomes()["room.only"] == "passed"


DECLARED = """
from modelmedic.facts.filesystem import read_scratch
from modelmedic.purity import OWN_PYTHON

@probe("local_read", spawns=(OWN_PYTHON, "tru*"))
def read_children(facts):
    commands.run([sys.executable, "-I", "-c", ""], deadline_seconds=9)
    return commands.run(["true"], deadline_seconds=9).returncode

@probe("local_read", connects="loopback")
def read_loopback(facts):
    server = socket.create_server(("127.0.0.1", 0))
    with server, socket.create_connection(server.getsockname()):
        return 1

@probe("local_read", writes="temporary")
def read_temporary(facts):
    tempfile.tempdir = None
    return tempfile.gettempdir()

@pytest.mark.check("room.declared", area="system")
def test_declared(facts, context):
    '''All of this was declared.'''
    assert facts.get(read_children) == 0
    assert facts.get(read_loopback) == 1
    assert facts.get(read_temporary)
    assert facts.get(read_scratch, context.place).execute.works
"""
TOO_FAR = {
    "another program": ('spawns=("true",)', 'commands.run(["false"], deadline_seconds=9)'),
    "not through the wrapper": ('spawns=("true",)', 'subprocess.run(["true"])'),
    "beyond this machine": ('connects="loopback"', "socket.socket().connect(('192.0.2.1', 9))"),
    "every address": ('connects="loopback"', "socket.socket().bind(('0.0.0.0', 0))"),
    "more than looking": (
        'writes="temporary"',
        "tempfile.NamedTemporaryFile(dir=tempfile.gettempdir())",
    ),
    "looking undeclared": (
        'writes=""',
        "setattr(tempfile, 'tempdir', None); tempfile.gettempdir()",
    ),
    "beside the scratch folder": ('writes="scratch"', "(facts.context.place / 'new').mkdir()"),
    "out of the scratch folder": ('writes="scratch"', "out_of_scratch(facts.context)"),
}
OUT = """
def out_of_scratch(context):
    scratch = context.place / context.scratch_name
    scratch.mkdir()
    (scratch / "link").symlink_to(context.place / "file")
    try:
        (scratch / "link").write_text("written through")
    finally:
        shutil.rmtree(scratch)
"""


def test_what_is_declared_is_done(room):
    before = snapshot(room.folder / "install")
    run = room.run(HEAD + DECLARED)
    assert run.code == 0, run.out
    assert snapshot(room.folder / "install") == before


@pytest.mark.parametrize("how", TOO_FAR)
def test_a_declaration_goes_no_further_than_it_says(room, how):
    declared, deed = TOO_FAR[how]
    before = snapshot(room.folder / "install")
    run = room.run(
        HEAD
        + OUT
        + f"""
@probe("local_read", {declared})
def read_too_far(facts): {deed}

@pytest.mark.check("room.asks", area="system")
def test_asks(facts):
    '''It asks.'''
    facts.get(read_too_far)
"""
    )
    assert_named(run, "The probe test_room.read_too_far broke its promise")
    assert snapshot(room.folder / "install") == before
