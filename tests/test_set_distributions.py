"""Packages of an environment are exchanged whole, and put back from what was kept."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import pytest
from distributions_support import ENV, exchange, says
from python_support import POSIX, site_packages
from support import make_context
from wheel_support import make_wheel, pip, pip_venv

from modelmedic.errors import RecoveryFailed, RecoveryRefused
from modelmedic.healing.engine import Engine, Plan, undo_run
from modelmedic.operations import kinds
from modelmedic.testing.conformance.snapshot import UNTOUCHED, differences, take

pytestmark = POSIX


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    one, two = ({"moon/__init__.py": f"V = {n}\n", "moon/old.py" if n == 1 else "moon/new.py": "",
                 "moonlight.py": f"L = {n}\n"} for n in (1, 2))  # fmt: skip
    return {
        "old": make_wheel(folder, "moon", "1.0", files=one, scripts={"moon": "moon:V"}),
        "new": make_wheel(folder, "moon", "2.0", files=two, scripts={"moon": "moon:V"}),
        "sun": make_wheel(folder, "sun"),
        "shade": make_wheel(folder, "shade", files={"moon/shade.py": "S = 1\n", "moonlight.py": "L = 0\n"}),
    }  # fmt: skip


@pytest.fixture
def install(tmp_path, wheels):
    place = tmp_path / "install"
    place.mkdir()
    pip_venv(place / ENV, wheels["old"])
    return place


@pytest.fixture
def engine(install):
    return Engine(make_context(install))


def apply(engine, *operations, keep=True):
    with engine.locked():
        applied = engine.apply(Plan("r", "c", "n", operations=list(operations)))
        if keep:
            engine.keep(applied)
    return applied


def look(install):
    return take(install / ENV)


def undo(engine):
    return undo_run(engine.context.state_dir, engine.context.place)


def test_a_newer_version_takes_the_place_of_the_old_one_and_undo_brings_every_file_back(
    install, engine, wheels
):
    before = look(install)
    apply(engine, exchange(install, wheels["new"], remove=("moon-1.0.dist-info",)))
    target = install / ENV / "bin/python"
    assert says(target, "import moon, moonlight; print(moon.V, moonlight.L)") == "2 2"
    assert "moon==2.0" in pip(target, "freeze")
    assert pip(target, "check")
    assert not (site_packages(target) / "moon/old.py").exists()
    launcher = (install / ENV / "bin/moon").read_text().splitlines()[0]
    assert launcher == f"#!{target}"
    assert undo(engine)
    assert differences(before, look(install), UNTOUCHED) == []
    assert not list((install / ".modelmedic" / "aside").iterdir())


def test_a_package_is_added_without_touching_another_and_taken_away_again(install, engine, wheels):
    before = look(install)
    apply(engine, exchange(install, wheels["sun"]))
    changed = differences(before, look(install), UNTOUCHED)
    assert changed
    assert all("/sun" in clause.partition(" ")[0] for clause in changed)
    undo(engine)
    assert differences(before, look(install), UNTOUCHED) == []


def test_pip_itself_can_go_on_with_what_was_swapped_in(install, engine, wheels):
    apply(engine, exchange(install, wheels["new"], remove=("moon-1.0.dist-info",)))
    target = install / ENV / "bin/python"
    pip(target, "uninstall", "-y", "moon")
    left = {path for path in look(install) if "moon" in path}
    assert left == set()


def test_files_that_nobody_recorded_stay(install, engine, wheels):
    notes = site_packages(install / ENV / "bin/python") / "moon" / "notes.txt"
    notes.write_text("mine")
    before = look(install)
    apply(engine, exchange(install, wheels["new"], remove=("moon-1.0.dist-info",)))
    assert notes.read_text() == "mine"
    assert says(install / ENV / "bin/python", "import moon; print(moon.V)") == "2"
    undo(engine)
    assert differences(before, look(install), UNTOUCHED) == []


def test_a_file_of_two_distributions_stays_for_the_one_that_stays(install, engine, wheels):
    pip(install / ENV / "bin/python", "install", "--no-index", "--no-compile", str(wheels["shade"]))
    before = look(install)
    apply(engine, exchange(install, remove=("moon-1.0.dist-info",)))
    folder = site_packages(install / ENV / "bin/python")
    assert (folder / "moonlight.py").exists()
    assert (folder / "moon/shade.py").exists()
    assert not (folder / "moon/__init__.py").exists()
    undo(engine)
    assert differences(before, look(install), UNTOUCHED) == []


def test_without_a_record_new_files_replace_the_old_ones_and_undo_still_knows_them(
    install, engine, wheels
):
    folder = site_packages(install / ENV / "bin/python")
    (folder / "moon-1.0.dist-info/RECORD").unlink()
    (folder / "moon/__init__.py").write_text("")
    before = look(install)
    apply(engine, exchange(install, wheels["old"], remove=("moon-1.0.dist-info",)))
    assert says(install / ENV / "bin/python", "import moon; print(moon.V)") == "1"
    assert (folder / "moon-1.0.dist-info/RECORD").exists()
    undo(engine)
    assert differences(before, look(install), UNTOUCHED) == []


def test_paths_of_a_record_that_lead_out_of_the_environment_are_left_alone(
    install, engine, wheels, tmp_path
):
    outside = [tmp_path / "precious", install / "weights.bin"]
    for path in outside:
        path.write_text("precious")
    record = site_packages(install / ENV / "bin/python") / "moon-1.0.dist-info/RECORD"
    depth = "../" * (record.relative_to(install / ENV).as_posix().count("/"))
    rows = [
        str(outside[0]),
        f"{depth}weights.bin",
        f"{depth}../precious",
        "/etc/hosts",
        "moon/../../../../../..",
    ]
    with record.open("a") as stream:
        stream.write("".join(f"{path},,\n" for path in rows))
    apply(engine, exchange(install, wheels["new"], remove=("moon-1.0.dist-info",)))
    assert [path.read_text() for path in outside] == ["precious"] * 2
    assert says(install / ENV / "bin/python", "import moon; print(moon.V)") == "2"


def test_a_folder_of_a_package_that_is_a_link_is_not_followed(install, engine, wheels, tmp_path):
    folder = site_packages(install / ENV / "bin/python")
    (folder / "moon").rename(tmp_path / "elsewhere")
    (folder / "moon").symlink_to(tmp_path / "elsewhere")
    outside = take(tmp_path / "elsewhere")
    with pytest.raises(RecoveryRefused):
        apply(engine, exchange(install, wheels["new"], remove=("moon-1.0.dist-info",)))
    assert differences(outside, take(tmp_path / "elsewhere"), UNTOUCHED) == []


def test_a_changed_record_refuses_before_anything_is_touched(install, engine, wheels):
    operation = exchange(install, wheels["new"], remove=("moon-1.0.dist-info",))
    record = site_packages(install / ENV / "bin/python") / "moon-1.0.dist-info/RECORD"
    record.write_text(record.read_text() + "moon/x.py,,\n")
    before = look(install)
    with pytest.raises(RecoveryRefused, match="changed since it was checked"):
        apply(engine, operation)
    assert differences(before, look(install), UNTOUCHED) == []


def test_a_wheel_with_other_bytes_is_never_laid_out(install, engine, wheels, tmp_path):
    wheel = make_wheel(tmp_path / "w", "moon", "3.0")
    operation = exchange(install, wheel, remove=("moon-1.0.dist-info",))
    wheel.write_bytes(wheel.read_bytes() + b"x")
    before = look(install)
    with pytest.raises(RecoveryFailed, match="other bytes"):
        apply(engine, operation)
    assert differences(before, look(install), UNTOUCHED) == []


def test_undo_refuses_when_somebody_changed_what_came_in_and_touches_nothing(
    install, engine, wheels
):
    apply(engine, exchange(install, wheels["new"], remove=("moon-1.0.dist-info",)))
    own = site_packages(install / ENV / "bin/python") / "moon/new.py"
    own.write_text("# edited\n")
    changed = look(install)
    with pytest.raises(RecoveryRefused, match="changed after the repair"):
        undo(engine)
    assert differences(changed, look(install), UNTOUCHED) == []


def test_undo_says_when_what_was_kept_is_gone(install, engine, wheels):
    apply(engine, exchange(install, wheels["new"], remove=("moon-1.0.dist-info",)))
    next((install / ".modelmedic/aside").rglob("moves.json")).unlink()
    with pytest.raises(RecoveryRefused, match="no longer kept"):
        undo(engine)


def test_an_environment_behind_a_link_is_refused(install, engine, wheels, tmp_path):
    operation = exchange(install, wheels["sun"])
    (install / ENV).rename(tmp_path / "real-env")
    (install / ENV).symlink_to(tmp_path / "real-env")
    with pytest.raises(RecoveryRefused):
        apply(engine, operation)


def test_an_environment_whose_python_runs_is_left_alone(install, engine, wheels):
    operation = exchange(install, wheels["sun"])
    target = install / ENV / "bin/python"
    # Not our child: a child of one that has ended, as an app started from another terminal.
    script = (
        "import subprocess, sys; quiet = subprocess.DEVNULL\n"
        "app = [sys.argv[1], '-c', 'input()']\n"
        "print(subprocess.Popen(app, stdin=0, stdout=quiet, stderr=quiet).pid)"
    )
    reader, writer = os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", script, str(target)], stdin=reader, capture_output=True, check=True, text=True, timeout=30,
    )  # fmt: skip
    try:
        with pytest.raises(
            RecoveryRefused, match=rf"process {done.stdout.strip()} .* runs its Python"
        ):
            apply(engine, operation)
    finally:
        os.close(writer)
        os.close(reader)
    assert not list((install / ".modelmedic").glob("parts/*"))


def test_it_survives_being_written_down(install, wheels):
    operation = exchange(install, wheels["new"], remove=("moon-1.0.dist-info",))
    told = json.loads(json.dumps(operation.to_json()))
    assert kinds.from_json(told) == operation
    with pytest.raises(RecoveryRefused):
        kinds.from_json({**told, "install": [["moon", 2]]})
    with pytest.raises(RecoveryRefused):
        kinds.from_json({**told, "remove": "moon"})


def test_what_it_says_and_costs(install, wheels):
    operation = exchange(install, wheels["new"], remove=("moon-1.0.dist-info",))
    assert operation.describe() == (
        "install moon 2.0 in .venv without the network, each proven by its sha256; "
        "moon-1.0 is kept aside"
    )
    online = dataclasses.replace(operation, is_offline=False)
    assert online.cost().fetch_bytes == wheels["new"].stat().st_size
    heavy = dataclasses.replace(
        online, install=(("torch", "2.8.0", "torch-2.8.0-py3-none-any.whl", "0" * 64, "", ""),)
    )
    assert heavy.cost().risk == "costly"
