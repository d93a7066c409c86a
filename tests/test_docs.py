"""The docs say what the code does: pages made from it, names, links, and the examples run."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest
from project_copy import copy_project
from support import CHECKOUT, child_env

from modelmedic import cli, rooms
from modelmedic.findings import Outcome
from modelmedic.healing.registry import FAMILIES
from modelmedic.operations.kinds import KINDS

pytestmark = pytest.mark.once  # it reads texts, which are the same on every Python

DOCS = CHECKOUT / "docs"
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
ALL_TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def _generator():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


GENERATE = _generator()
CHECKS = list(GENERATE.checks())
RECOVERIES = GENERATE.recoveries()
by_id = pytest.mark.parametrize("check", CHECKS, ids=[check.id for check in CHECKS])


def read(name):
    return (DOCS / name).read_text(encoding="utf-8")


def anchors(page):
    """Return what a link into a page can name: explicit ids and headings, as GitHub makes them."""
    text = page.read_text(encoding="utf-8")
    explicit = set(re.findall(r'<a id="([^"]+)"></a>', text))
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return explicit | {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


# --- docs/checks.md and the checks themselves


def test_the_page_of_checks_is_up_to_date():
    assert read("checks.md") == GENERATE.page(), "run: python3 docs/generate.py"


def test_ids_are_unique_and_nothing_of_the_room_is_left_out():
    ids = [check.id for check in CHECKS]
    assert len(ids) == len(set(ids))
    texts = [path.read_text(encoding="utf-8") for path in rooms.room("checks").glob("test_*.py")]
    assert len(ids) == sum(text.count("\ndef test_") for text in texts)


@by_id
def test_a_check_says_what_it_is(check):
    assert check.area in GENERATE.AREAS
    assert check.severity in {"blocker", "major", "minor"}
    assert check.stage in {None, "installed"}
    assert re.fullmatch(r"[A-Z].*[a-z0-9)].*\.", check.title), check.title
    assert len(check.title) < 100
    assert check.id.startswith(f"{check.area}.")


@by_id
def test_a_check_is_repaired_or_says_where_to_read_on(check):
    assert bool(check.family) != bool(check.page), "recover() or guidance()"
    if check.page:
        assert check.page == f"docs/checks.md#{check.anchor}"
        assert check.anchor in anchors(DOCS / "checks.md")


@by_id
def test_needs_and_recoveries_exist(check):
    assert set(check.needs) <= {other.id for other in CHECKS} - {check.id}
    assert set(check.using) <= set(RECOVERIES)
    assert check.family in {"", *FAMILIES}


def test_every_guidance_is_of_a_check_and_every_check_has_one():
    assert set(GENERATE.guidance()) == {check.id for check in CHECKS}


def test_every_recovery_can_be_reached_and_says_what_it_changes():
    used = {name for check in CHECKS for name in GENERATE.offered(check, RECOVERIES)}
    assert used == set(RECOVERIES)
    for entry in RECOVERIES.values():
        for word in ("Changes:", "Undo:", "Needs:"):
            assert word in entry.function.__doc__, entry.name


def test_the_parameters_of_checks_are_those_of_the_plugin():
    subjects = rooms.load("plugins", "examination")._SUBJECTS
    assert set(GENERATE.PARAMETERS) == set(subjects)
    for name in subjects:
        assert f"`{name}`" in read("writing-checks.md")


# --- names


@pytest.mark.parametrize("name", sorted(RECOVERIES))
def test_a_recovery_is_in_the_readme(name):
    assert f"| `{name}` |" in (CHECKOUT / "README.md").read_text(encoding="utf-8")


def test_every_option_is_explained():
    options = rooms.load("plugins", "options")
    names = [options._option(name) for name, *_rest in (*options._SETTINGS, *options._FLAGS)]
    for name in [*names, "--heal=plan", "--heal=ask", "--heal=apply"]:
        assert re.search(rf"`{name}[`=, ]", read("healing.md")), name


def test_every_option_in_the_docs_exists():
    options = rooms.load("plugins", "options")
    ours = {options._option(name) for name, *_rest in (*options._SETTINGS, *options._FLAGS)}
    table = read("healing.md").partition("\n## Options\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `(--[a-z-]+)", table, re.MULTILINE))
    assert named == {*ours, "--heal"}


def test_every_command_is_in_the_readme():
    actions = cli._parser()._subparsers._group_actions
    for name in (name for action in actions for name in action.choices):
        assert f"| `modelmedic {name}` |" in ALL_TEXT, name


def test_every_outcome_and_exit_code_is_explained():
    text = read("outcomes.md")
    assert re.findall(r"^\| (\w+) \| `", text, re.MULTILINE) == [
        "passed", "healed", "degraded", "skipped", "blocked", "unknown", "failed",
    ]  # fmt: skip
    assert {outcome.value for outcome in Outcome} == set(
        re.findall(r"^\| (\w+) \| `", text, re.MULTILINE)
    )
    letters = rooms.load("plugins", "terminal")._WORDS
    for outcome, (letter, _markup) in letters.items():
        assert f"| {outcome} | `{letter}` |" in text
    for code in range(6):
        assert re.search(rf"^\| `?{code}`? \|", read("exit-codes.md"), re.MULTILINE), code


def test_families_and_operations_are_named():
    text = read("writing-recoveries.md")
    for name in FAMILIES:
        assert f"`{name}`" in text
    for name, kind in KINDS.items():
        assert f"| `{name}`: `{kind.__name__}(" in text


# --- links


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page):
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        name, _hash, anchor = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {target}"


# --- the examples run


def example(page, title):
    return re.search(
        rf"^```python title={re.escape(title)}\n(.*?)^```$", read(page), re.DOTALL | re.MULTILINE
    )[1]


def run(folder, *options, project=CHECKOUT):
    entry = f"import sys; sys.path.insert(0, {str(project / 'src')!r}); import pytest; "
    entry += "sys.exit(pytest.main(sys.argv[1:]))"
    return subprocess.run(
        [
            sys.executable, "-c", entry, "-c", str(project / "pyproject.toml"),
            f"--rootdir={project}", "-p", "modelmedic.entry", "--profile=demo",
            "--stage=installed", f"--install-dir={folder / 'install'}",
            f"--report-dir={folder / 'report'}", *options,
        ],
        cwd=folder,
        env=child_env(MODELMEDIC_STATE_DIR=str(folder / "state")),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )  # fmt: skip


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "install" / "outputs"
    folder.mkdir(parents=True)
    (folder / "good.png").write_bytes(b"content")
    return folder


def test_the_example_of_a_check_passes_fails_and_cannot_tell(tmp_path, pictures):
    check = tmp_path / "test_pictures.py"
    check.write_text(example("writing-checks.md", "test_pictures.py"), encoding="utf-8")
    done = run(tmp_path, str(check))
    assert done.returncode == 0, done.stdout + done.stderr
    (pictures / "bad.png").touch()
    done = run(tmp_path, str(check))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 empty picture in outputs: bad.png." in done.stdout
    assert "install.pictures" in done.stdout
    for picture in pictures.iterdir():
        picture.unlink()
    pictures.rmdir()
    done = run(tmp_path, str(check))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "could not look: 1 check" in done.stdout


def test_the_example_of_a_recovery_heals_plans_and_is_undone(tmp_path, pictures):
    project = copy_project(tmp_path / "project")
    page = "writing-recoveries.md"
    for name in ("src/modelmedic/strategies/pictures.py", "recoveries/pictures.py"):
        (project / name).write_text(example(page, name), encoding="utf-8")
    marker = re.search(r"^@pytest\.mark\.recover.*$", read(page), re.MULTILINE)[0]
    check = re.sub(
        r"^@pytest\.mark\.guidance.*$",
        marker,
        example("writing-checks.md", "test_pictures.py"),
        flags=re.MULTILINE,
    )
    path = project / "checks" / "test_pictures.py"
    path.write_text(check, encoding="utf-8")
    for name in ("a.png", "b.png"):
        (pictures / name).touch()
    planned = run(tmp_path, "--heal=plan", str(path), project=project)
    assert planned.returncode == 1, planned.stdout + planned.stderr
    assert "set outputs/b.png aside" in planned.stdout
    assert (pictures / "b.png").exists()
    done = run(tmp_path, "--heal", str(path), project=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 healed" in done.stdout
    assert sorted(entry.name for entry in pictures.iterdir()) == ["good.png"]
