"""Impure checks, probes and recoveries in real runs: stopped, named, exit code 3."""

from __future__ import annotations

import pytest
from demo_support import Desk, snapshot
from purity_support import HEAD, OWN_FAULT, assert_named, by_check, room

__all__ = ["room"]  # a fixture is used by its name

# What a check may do wrong in the install, which holds "file" and the folder "full". Each line is
# tried plainly; nothing of it may happen.
DEEDS = {
    "open": "open(place / 'new', 'w').close()",
    "append": "(place / 'file').open('ab').close()",
    "os.open": "os.close(os.open(place / 'new', os.O_RDONLY | os.O_CREAT))",
    "dir_fd": "os.close(os.open('new', os.O_WRONLY | os.O_CREAT, dir_fd=folder))",
    "wrong report": "open(place / 'report.json', 'w').close()",
    "rename": "os.rename(place / 'file', place / 'new')",
    "replace": "(place / 'file').replace(place / 'new')",
    "rename_at": "os.rename('file', 'new', src_dir_fd=folder, dst_dir_fd=folder)",
    "remove": "os.remove(place / 'file')",
    "unlink": "(place / 'file').unlink()",
    "rmdir": "os.rmdir(place / 'empty')",
    "rmtree": "shutil.rmtree(place / 'full')",
    "mkdir": "(place / 'new').mkdir()",
    "link": "os.link(place / 'file', place / 'new')",
    "symlink": "os.symlink('file', place / 'new')",
    "truncate": "os.truncate(place / 'file', 0)",
    "chmod": "os.chmod(place / 'file', 0o777)",
    "fchmod": "os.fchmod(handle, 0o777)",
    "chown": "os.chown(place / 'file', os.getuid(), os.getgid())",
    "utime": "os.utime(place / 'file', (1, 1))",
    "xattr": "os.setxattr(place / 'file', 'user.x', b'1')",
    "removexattr": "os.removexattr(place / 'file', 'user.x')",
    "copy": "shutil.copy(place / 'file', place / 'new')",
    "tempfile": "tempfile.NamedTemporaryFile()",
    "sqlite": "sqlite3.connect(place / 'new')",
    "popen": "subprocess.Popen([sys.executable, '-c', touch])",
    "run": "subprocess.run([sys.executable, '-c', touch])",
    "wrapper": "commands.run([sys.executable, '-c', touch], deadline_seconds=9)",
    "system": "os.system('touch new')",
    "os.popen": "os.popen('touch new')",
    "fork": "os.fork() or os._exit(0)",
    "forkpty": "os.forkpty()[0] or os._exit(0)",
    "pty": "pty.spawn(['touch', 'new'])",
    "posix_spawn": "os.posix_spawn(sys.executable, [sys.executable, '-c', touch], {})",
    "exec": "os.execv(sys.executable, [sys.executable, '-c', touch])",
    "kill": "os.kill(os.getppid(), signal.SIGTERM)",
    "killpg": "os.killpg(os.getppid(), signal.SIGTERM)",
    "connect": "socket.create_connection(('127.0.0.1', 9))",
    "connect_ex": "socket.socket().connect_ex(('127.0.0.1', 9))",
    "bind": "socket.socket().bind(('127.0.0.1', 0))",
    "sendto": "udp.sendto(b'x', ('127.0.0.1', 9))",
    "sendmsg": "udp.sendmsg([b'x'], [], 0, ('127.0.0.1', 9))",
    "gethostbyname": "socket.gethostbyname('example.invalid')",
    "gethostbyaddr": "socket.gethostbyaddr('127.0.0.1')",
    "getnameinfo": "socket.getnameinfo(('127.0.0.1', 9), 0)",
    "lookup": "socket.getaddrinfo('example.invalid', 80)",
    "urlopen": "urllib.request.urlopen('http://127.0.0.1:9/')",
}
EACH = f"""
DEEDS = {DEEDS!r}

@pytest.mark.check("room.deed", area="system")
@pytest.mark.parametrize("name", list(DEEDS))
def test_deed(context, name):
    '''It changes nothing.'''
    place = context.place
    names = dict(globals(), place=place, folder=os.open(place, os.O_RDONLY),
                 udp=socket.socket(type=socket.SOCK_DGRAM), handle=os.open(place / "file", os.O_RDONLY),
                 touch=f"open({{str(place / 'new')!r}}, 'w')")
    try:
        exec(DEEDS[name], names)
    except OSError:
        pass
"""


def test_every_deed_is_stopped_and_named(room):
    before = snapshot(room.folder / "install")
    modes = {path: path.stat() for path in (room.folder / "install").iterdir()}
    run = room.run(HEAD + EACH)
    assert run.code == OWN_FAULT, run.out
    found = by_check(run)
    kept = {
        name: found[f"room.deed[{name}]"]["what"]
        for name in DEEDS
        if f"The check room.deed[{name}] broke its promise: it was about to "
        not in found[f"room.deed[{name}]"]["what"]
    }
    assert kept == {}
    assert snapshot(room.folder / "install") == before
    for path, status in modes.items():
        now = path.stat()
        assert (now.st_mode, now.st_mtime_ns, now.st_uid) == (
            status.st_mode, status.st_mtime_ns, status.st_uid,
        )  # fmt: skip
    assert "test_room.py" in found["room.deed[open]"]["what"]  # the line in whose name it was done
    assert f"{len(DEEDS)} promises to change nothing were broken" in run.out
    assert found["room.deed[open]"]["next"] == "Report it with this run's report.json."


def test_reading_and_what_the_run_writes_itself_is_no_deed(room):
    """The report, an import that is compiled, the null device and a signal that only asks."""
    (room.folder / "lazy").mkdir()
    (room.folder / "lazy" / "lazily.py").write_text("x = 1")
    run = room.run(
        HEAD
        + f"""
@pytest.mark.check("room.reads", area="system")
def test_reads(context):
    '''It reads.'''
    assert (context.place / "file").read_text() == "content"
    list(os.scandir(context.place)); os.stat(context.place); os.kill(os.getppid(), 0)
    open(os.devnull, "w").close(); socket.getaddrinfo("127.0.0.1", 80)
    sys.dont_write_bytecode = False
    sys.path.insert(0, {str(room.folder / "lazy")!r}); import lazily
    (context.state_dir / "kept").mkdir(parents=True)
    threading.Thread(target=print).start()
"""
    )
    assert run.code == 0, run.out
    assert (room.folder / "lazy" / "__pycache__").is_dir()


# -- what the offender swallows --------------------------------------------------------------------

SWALLOWED = {
    "oserror": "try: write()\n    except OSError: pass",
    "exception": "try: write()\n    except Exception: pass",
    "all": "with contextlib.suppress(BaseException): write()",
    "other": "try: write()\n    except Exception: pass\n    raise Unhealthy('Another verdict.')",
    "skip": "try: write()\n    except Exception: pass\n    pytest.skip('does not apply')",
    "thread": "thread = threading.Thread(target=write); thread.start(); thread.join()",
}


@pytest.mark.parametrize("how", SWALLOWED)
def test_a_check_cannot_swallow_it(room, how):
    run = room.run(
        HEAD
        + f"""
@pytest.mark.check("room.sly", area="system")
def test_sly(context):
    '''It changes nothing.'''
    def write(): (context.place / "new").write_text("x")
    {SWALLOWED[how]}

@pytest.mark.check("room.next", area="system")
def test_next():
    '''It is judged all the same.'''
"""
    )
    assert_named(run, "The check room.sly broke its promise: it was about to write")
    assert run.outcomes() == {"room.sly": "unknown", "room.next": "passed"}
    assert not (room.folder / "install" / "new").exists()


def test_what_a_late_thread_does_is_a_finding_of_its_own(room):
    run = room.run(
        HEAD
        + """
@pytest.mark.check("room.late", area="system")
def test_late(context):
    '''It leaves a thread behind.'''
    def write():
        over.wait(30)
        with contextlib.suppress(Exception):
            (context.place / "new").write_text("x")
    threads.append(threading.Thread(target=write)); threads[0].start()

def test_no_check():
    over.set()
    threads[0].join()
over, threads = threading.Event(), []
"""
    )
    findings = assert_named(run, "The check room.late broke its promise")
    assert [finding["check"] for finding in findings] == ["purity.promise[1]"]
    assert not (room.folder / "install" / "new").exists()
    assert "purity.promise[1]" in run.page


@pytest.mark.parametrize("options", [(), ("-n2",)], ids=["", "n2"])
def test_a_fixture_is_watched_when_it_is_made_and_when_it_ends(room, options):
    run = room.run(
        HEAD
        + """
@pytest.fixture
def before(context): (context.place / "new").write_text("x")

@pytest.fixture
def after(context):
    yield
    (context.place / "new").write_text("x")

@pytest.mark.check("room.before", area="system")
def test_before(before): '''It has a fixture.'''

@pytest.mark.check("room.after", area="system")
def test_after(after): '''It has a fixture.'''
""",
        *options,
    )
    assert_named(run, "The check room.before broke its promise")
    assert_named(run, "The check room.after broke its promise")
    assert not (room.folder / "install" / "new").exists()


@pytest.mark.parametrize("scope", ["class", "module", "session"])
def test_a_fixture_that_several_checks_share_is_watched_when_it_ends(room, scope):
    run = room.run(
        HEAD
        + f"""
@pytest.fixture(scope={scope!r})
def shared(context):
    yield
    (context.place / "new").write_text("x")

class TestTogether:
    @pytest.mark.check("room.first", area="system")
    def test_first(self, shared): "It shares a fixture."

    @pytest.mark.check("room.last", area="system")
    def test_last(self, shared): "It shares a fixture."
""",
    )
    assert_named(run, "The check room.last broke its promise: it was about to write")
    assert by_check(run)["room.first"]["outcome"] == "passed"
    assert not (room.folder / "install" / "new").exists()


# -- who is not watched ----------------------------------------------------------------------------


def test_other_tests_in_the_same_run_may_do_what_they_want(room):
    run = room.run(
        HEAD
        + """
@pytest.mark.check("room.good", area="system")
def test_good(): '''It holds.'''

def test_of_another_kind(tmp_path):
    (tmp_path / "new").write_text("x")
    subprocess.run(["true"], check=True)
"""
    )
    assert run.code == 0, run.out
    assert not run.record["environment"]["notes"]


# -- plans and repairs -----------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path):
    """An install of the demo with everything missing."""
    folder = tmp_path / "desk"
    (folder / "demo-install").mkdir(parents=True)
    return Desk(folder)


def test_a_plan_for_a_broken_install_is_pure_and_a_repair_still_heals(desk):
    before = snapshot(desk.folder, without=())
    options = (f"--install-dir={desk.install}", "--stage=installed", "--allow=costly")
    planned = desk.run("--heal=plan", *options)
    assert planned.code == 1, planned.out
    verdicts = {a["verdict"] for f in planned.record["findings"] for a in f["attempts"]}
    assert {"planned"} <= verdicts <= {"planned", "refused"}
    assert snapshot(desk.folder, without=()) == before
    healed = desk.run("--heal", *options)
    assert healed.record["counts"]["healed"] > 0
    assert "promise" not in healed.out + planned.out
    assert (healed.code, healed.bad()) == (0, {}), healed.out


# As the recovery room does it; this recovery comes with the check.
RASH = """
from modelmedic import examination
from modelmedic.healing.registry import recovery
from modelmedic.operations.kinds import MakeDir

@recovery("system", order=1)
def change_while_planning(repair, context):
    "Change something before anybody agreed."
    with contextlib.suppress(Exception):
        (context.place / "rashly").mkdir()
    repair.step(MakeDir("extra"))
    yield

entry = change_while_planning.recovery
change_while_planning = pytest.fixture(change_while_planning)

def pytest_generate_tests(metafunc):
    registry = examination.of(metafunc.config).registry
    if entry.name not in registry.names():
        registry.add(entry)

@pytest.mark.check("room.folder", area="install")
@pytest.mark.recover("system", using=["change_while_planning"])
def test_folder(context):
    '''The folder is there.'''
    if not (context.place / "extra").is_dir():
        raise Unhealthy("It is missing.", subject="extra")
"""


@pytest.mark.parametrize("mode", ["plan", "apply"])
def test_a_recovery_that_changes_something_while_it_plans_is_named(room, mode):
    before = snapshot(room.folder / "install")
    run = room.run(HEAD + RASH, f"--heal={mode}")
    assert_named(run, "The recovery change_while_planning broke its promise: it was about to make")
    finding = by_check(run)["room.folder"]
    assert finding["outcome"] == "failed"
    assert finding["attempts"][0]["verdict"] == {"plan": "refused", "apply": "failed"}[mode]
    assert snapshot(room.folder / "install") == before
