"""``modelmedic profile``: list, show and seal profiles, gather their wheels."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modelmedic import rooms
from modelmedic.cli.parsing import EXIT_OK, Commands


def add(commands: Commands) -> None:
    """Add the command and its options."""
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
