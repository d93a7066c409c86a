"""The ``modelmedic`` command: the shipped checks from anywhere, undo, reports, profiles, scans."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from modelmedic import __version__, rooms
from modelmedic.errors import BadInstall, BadProfile, ModelmedicError

EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OWN_FAULT, EXIT_USAGE = 0, 1, 2, 3, 4
_PYTEST_COMMANDS = {"check": [], "plan": ["--heal=plan"], "heal": ["--heal"]}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (docs/exit-codes)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in _PYTEST_COMMANDS:
        return run_checks(arguments[0], arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        code = int(options.call(options))
        sys.stdout.flush()  # here, not at the end of Python, is where a closed pipe is heard of
    except BadProfile as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except ModelmedicError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:  # who read it, `head` or a pager, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except KeyboardInterrupt:
        begun = " What undo had begun, the next undo or --heal ends." * (arguments[0] == "undo")
        print(f"Stopped.{begun}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return code


def run_checks(command: str, arguments: Sequence[str]) -> int:
    """Run pytest on the shipped checks with our own ini file, root folder and plugins.

    Nothing of the current folder is loaded: no ini file, no conftest, no plugin of its own.
    """
    os.environ.setdefault("MODELMEDIC_INVOKED_AS", f"modelmedic {command}")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(name, None)
    sys.path[:] = [entry for entry in sys.path if entry]
    pinned = [
        "-c", str(Path(__file__).with_name("pytest.ini")),
        f"--rootdir={rooms.home()}",
        f"--confcutdir={rooms.room('checks')}",
        "-p", "modelmedic.entry",
        "-p", "xdist.plugin",
        "-p", "pytest_html.plugin",
        "-p", "pytest_metadata.plugin",
        "-p", "pytest_timeout",
    ]  # fmt: skip
    # By name: the library has no pytest of its own; only this command runs it.
    pytest = importlib.import_module("pytest")
    extra = [*_PYTEST_COMMANDS[command], *arguments]
    return int(pytest.main([*pinned, *extra, str(rooms.room("checks"))]))


class _Parser(argparse.ArgumentParser):
    """Ends with our exit code for wrong use: argparse's own, 2, means interrupted here."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="modelmedic",
        description="Find out why the installation of a large AI model fails, and repair it.",
    )
    parser.add_argument("--version", action="version", version=f"modelmedic {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, text in (
        ("check", "judge the machine and the install; change nothing"),
        ("plan", "say what heal would do; change nothing"),
        ("heal", "repair what fails, then check it again"),
    ):
        commands.add_parser(name, help=f"{text} (takes pytest's and modelmedic's options)")
    _add_undo(commands)
    _add_report(commands)
    _add_profile(commands)
    _add_scan(commands)
    return parser


def _add_undo(commands: argparse._SubParsersAction[_Parser]) -> None:
    undo = commands.add_parser("undo", help="put back what a run repaired")
    undo.add_argument("run_id", nargs="?", help="the run (default: the newest that repaired)")
    undo.add_argument("--install-dir", type=Path, help="default: the current folder")
    undo.add_argument("--profile", help="a profile whose own install folder is meant")
    undo.set_defaults(call=_undo)


def _undo(options: argparse.Namespace) -> int:
    from modelmedic.healing import engine
    from modelmedic.profile.loader import load_profile

    install = options.install_dir
    if install is None and options.profile:
        profile = load_profile(options.profile, cwd=Path.cwd())
        install = Path(profile.install_dir) if profile.install_dir else None
    # A report says ~ for the home folder, which no shell expands after a "=".
    install = (install or Path.cwd()).expanduser().absolute()
    told = engine.undo_run(
        rooms.state_dir(), install, options.run_id, told=lambda line: print(line, file=sys.stderr)
    )
    nothing = (
        f"Nothing to undo: no repair of {install} is on record. "
        "Another folder is named by --install-dir, or by the --profile that was healed."
    )
    print("\n".join(told) or nothing)
    return EXIT_OK


def _add_report(commands: argparse._SubParsersAction[_Parser]) -> None:
    report = commands.add_parser("report", help="render the HTML block of an old run")
    report.add_argument("run", help="a report folder, its report.json, or the id of a kept run")
    report.add_argument("--output", type=Path, help="where to (default: standard output)")
    report.set_defaults(call=_report)


def _report(options: argparse.Namespace) -> int:
    from modelmedic import runs

    path = runs.find(options.run, rooms.state_dir())
    html = rooms.load("reports", "html").render(runs.read(path))
    if options.output:
        _write(options.output, html)
    else:  # the page says utf-8, whatever the terminal speaks
        sys.stdout.buffer.write(html.encode("utf-8"))
    return EXIT_OK


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ModelmedicError(f"{path} cannot be written: {error.strerror or error}.") from error


def _add_profile(commands: argparse._SubParsersAction[_Parser]) -> None:
    profile = commands.add_parser("profile", help="list or show profiles, seal an install")
    verbs = profile.add_subparsers(required=True, metavar="VERB")
    verbs.add_parser("list", help="the shipped profiles").set_defaults(call=_profile_list)
    show = verbs.add_parser("show", help="what a profile asks for")
    show.add_argument("profile", help="a name or a file")
    show.set_defaults(call=_profile_show)
    seal = verbs.add_parser("seal", help="write the digests of a good install, for others' repair")
    seal.add_argument("folder", type=Path, help="the install; without --profile a model's folder")
    seal.add_argument("--profile", help="refuse files that are not as this name or file says")
    seal.add_argument(
        "--output", type=Path, help="a folder, or for one model a file (default: current folder)"
    )
    seal.set_defaults(call=_profile_seal)
    wheels = verbs.add_parser(
        "wheelhouse", help="fetch all wheels that a profile requires, for an install offline"
    )
    wheels.add_argument("profile", help="a name or a file")
    wheels.add_argument(
        "--target-python", type=Path, required=True, help="a Python like the app's, with pip"
    )
    wheels.add_argument("--output", type=Path, required=True, help="the folder for them")
    wheels.set_defaults(call=_profile_wheelhouse)
    compat = verbs.add_parser("compat", help="which driver, card, torch and packages go together")
    compat.add_argument("--json", action="store_true", help="as one JSON document")
    compat.set_defaults(call=_profile_compat)
    schema = verbs.add_parser("schema", help="the JSON Schema that editors complete from")
    schema.set_defaults(call=_profile_schema)


def _profile_list(_options: argparse.Namespace) -> int:
    from modelmedic.profile.loader import available

    print("\n".join(available()))
    return EXIT_OK


def _profile_show(options: argparse.Namespace) -> int:
    from modelmedic.profile.describing import describe
    from modelmedic.profile.loader import load_profile

    print(describe(load_profile(options.profile, cwd=Path.cwd())))
    return EXIT_OK


def _profile_seal(options: argparse.Namespace) -> int:
    from modelmedic import sealing
    from modelmedic.profile.loader import load_profile

    profile = load_profile(options.profile, cwd=Path.cwd()) if options.profile else None
    folder = options.folder.expanduser().absolute()
    made = sealing.seal(folder, profile, tell=lambda line: print(line, file=sys.stderr))
    for path in sealing.write(made, options.output and options.output.expanduser().absolute()):
        print(path)
    return EXIT_OK


def _profile_wheelhouse(options: argparse.Namespace) -> int:
    from modelmedic.profile.loader import load_profile
    from modelmedic.strategies import wheelhouse

    profile = load_profile(options.profile, cwd=Path.cwd())
    folder = options.output.expanduser().absolute()
    python = options.target_python.expanduser().absolute()
    found, left_out = wheelhouse.make(
        profile, python, folder, lambda line: print(line, file=sys.stderr)
    )
    for spec in left_out:
        print(f"Left out, for the index has no wheel of it: {spec}", file=sys.stderr)
    print(f"{folder}: {len(found.items)} wheels. Use it with --wheelhouse={folder}")
    return EXIT_OK


def _profile_compat(options: argparse.Namespace) -> int:
    from modelmedic.compat import describing, table

    known = table.load()
    print(describing.as_json(known) if options.json else describing.describe(known))
    return EXIT_OK


def _profile_schema(_options: argparse.Namespace) -> int:
    print((rooms.room("profiles") / "profile.schema.json").read_text(encoding="utf-8"), end="")
    return EXIT_OK


def _add_scan(commands: argparse._SubParsersAction[_Parser]) -> None:
    scan = commands.add_parser("scan", help="find faults in Python code before it runs")
    scan.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file or a folder")
    scan.add_argument("--json", action="store_true", help="as one JSON document")
    scan.add_argument(
        "--exclude", action="append", default=[], metavar="GLOB",
        help="leave out what matches, as tests or *_pb2.py; may be given more than once",
    )  # fmt: skip
    scan.set_defaults(call=_scan)


def _scan(options: argparse.Namespace) -> int:
    from modelmedic.masking import Masker
    from modelmedic.scan import examine, report

    try:
        found = examine([path.expanduser() for path in options.paths], exclude=options.exclude)
    except BadInstall as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    render = report.as_json if options.json else report.as_text
    sys.stdout.buffer.write(f"{render(found, Masker.of_this_machine())}\n".encode())
    return EXIT_FAILED if found.outcome.is_cause_of_exit_1 else EXIT_OK
