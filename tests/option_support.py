"""A small room of checks and what each run of it must find, whatever options pytest is given."""

from __future__ import annotations

import time

from room_support import Room

from modelmedic.healing import journal

FOLDERS = '''
IN_CLOSING = os.environ.get("MODELMEDIC_CLOSING_PASS") == "1"

def folder_is_there(context, name):
    if not (context.place / name).is_dir():
        raise Unhealthy(f"The folder {name} is missing.", "Most often removed.", "Make it.",
                        subject=name)

def wait_for(is_so):
    """Wait for another process, as long as it may take on a busy machine."""
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)
'''


def heals(name: str, folder: str = "", before: str = "") -> str:
    """Return a check of a folder that is made by a recovery; ``before`` is run first."""
    return (
        f'@pytest.mark.check("room.{name}", area="install")\n'
        '@pytest.mark.recover("system", using=["create_missing_folder"])\n'
        f'def test_{name}(context):\n    "The folder {folder or name} is there."\n'
        f'{before}    folder_is_there(context, "{folder or name}")\n\n'
    )


NEVER = '''
@pytest.mark.check("room.never", area="install")
@pytest.mark.recover("system", using=["create_missing_folder"])
def test_never(context):
    """It holds."""
    raise Unhealthy("Never.", "Because.", "Look.", subject="never")

'''
HOLDS = '''
@pytest.mark.check("room.holds", area="system")
def test_holds():
    """It holds."""

'''


def verdicts_in(room: Room) -> list[str]:
    """Return what became of each repair of any run, in their order; "" is pending."""
    return [repair.verdict for each in journals_in(room) for repair in each.repairs()]


def journals_in(room: Room) -> list[journal.Journal]:
    return journal.all_of(room.folder / "state", room.folder / "install")


def folders_in(room: Room) -> set[str]:
    """Return what lies in the install beside our own folder."""
    return {path.name for path in (room.folder / "install").iterdir()} - {".modelmedic"}


def wait_until(is_so, *processes) -> None:
    """Wait for what children do, while they run."""
    until = time.monotonic() + 60
    while not is_so():
        for process in processes:
            assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < until
        time.sleep(0.02)
