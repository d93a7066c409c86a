"""Config repair under random damage: what it writes is good, and nothing whole is lost or moved."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from config_repair_support import Bench
from hypothesis import given, settings
from hypothesis import strategies as st

from modelmedic.errors import RecoveryRefused
from modelmedic.profile.model import ConfigKey

pytestmark = pytest.mark.once

NAMES = st.text("abcdefgh_", min_size=2, max_size=6)
TEXTS = st.text("xyz0189 #;,:=[]{}é🎬'", min_size=2, max_size=12).map(lambda text: f"v{text}v")
NUMBERS = st.integers(-(10**12), 10**12)
SCALARS = st.one_of(TEXTS, NUMBERS, st.booleans())
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.just([]))
TABLES = st.dictionaries(NAMES, VALUES, max_size=4)
DOCUMENTS = st.builds(
    lambda leaves, tables: {**leaves, **{f"t{name}": table for name, table in tables.items()}},
    TABLES,
    st.dictionaries(
        NAMES, st.one_of(TABLES, st.dictionaries(NAMES, TABLES, max_size=2)), max_size=3
    ),
)
SECTIONS = st.dictionaries(
    NAMES, st.dictionaries(NAMES, st.one_of(NUMBERS, TEXTS).map(str), max_size=4), max_size=4
)
Line = tuple[str, tuple]  # its text and what stands on it: a leaf, a table, or () for the whole
# The same examples in every run: what damage meant is guessed, and some rare guess will be wrong.
EXAMPLES = settings(deadline=None, max_examples=150, derandomize=True)


def json_lines(table: dict, above: tuple = (), indent: str = "  ") -> list[Line]:
    lines: list[Line] = []
    pad = indent * (len(above) + 1)
    for seat, (name, value) in enumerate(table.items(), start=1):
        path, comma = (*above, name), "" if seat == len(table) else ","
        if isinstance(value, dict):
            lines.append((f"{pad}{json.dumps(name)}: {{", path))
            lines += json_lines(value, path, indent)
            lines.append((f"{pad}}}{comma}", path))
        else:
            written = json.dumps(value, ensure_ascii=False)
            lines.append((f"{pad}{json.dumps(name)}: {written}{comma}", path))
    return lines


def toml_lines(table: dict, above: tuple = ()) -> list[Line]:
    leaves = [(name, value) for name, value in table.items() if not isinstance(value, dict)]
    lines: list[Line] = [
        (f"{name} = {json.dumps(value, ensure_ascii=False)}", (*above, name))
        for name, value in leaves
    ]
    for name, value in table.items():
        if isinstance(value, dict):
            path = (*above, name)
            lines += [(f"[{'.'.join(path)}]", path), *toml_lines(value, path)]
    return lines


def ini_lines(sections: dict) -> list[Line]:
    lines: list[Line] = []
    for name, options in sections.items():
        lines.append((f"[{name}]", (name,)))
        lines += [(f"{option} = {value}", (name, option)) for option, value in options.items()]
    return lines


def leaves(table: dict, above: tuple = ()) -> dict:
    found = {}
    for name, value in table.items():
        found |= (
            leaves(value, (*above, name)) if isinstance(value, dict) else {(*above, name): value}
        )
    return found


def lines_of(file_format: str, document: dict) -> list[Line]:
    if file_format == "json":
        return [("{", ()), *json_lines(document), ("}", ())]
    return toml_lines(document) if file_format == "toml" else ini_lines(document)


@st.composite
def files(draw, file_format: str):
    document = draw(SECTIONS if file_format == "ini" else DOCUMENTS)
    if file_format == "ini":
        document = {"main": {"steps": "7"}, **document}
    else:
        document = {"steps": 7, **document}
    return document, lines_of(file_format, document)


def mended(file_format: str, data: bytes) -> dict | None:
    """Return the values after the repair; None when it refused what only its encoding spoils."""
    name = "main.steps" if file_format == "ini" else "steps"
    key = ConfigKey(name, "integer", has_default=True, default=20)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), file_format, key)
        try:
            text = bench.mend(data)
        except RecoveryRefused:
            with pytest.raises(UnicodeDecodeError):
                data.decode()
            return None
        assert "\ufffd" not in text
        return leaves(bench.values())


def joined(lines: list[Line], newline: str = "\n") -> bytes:
    return "".join(f"{text}{newline}" for text, _path in lines).encode()


def assert_kept(document: dict, found: dict | None, hurt: tuple) -> None:
    """Every value is there, but those that stood at or below what was hurt."""
    steps = ("main", "steps") if ("main", "steps") in leaves(document) else ("steps",)
    for path, value in leaves(document).items():
        if found is not None and path != steps and path[: len(hurt)] != hurt:
            assert found.get(path) == value, path


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("file_format", ["json", "toml", "ini"])
def test_a_wrong_value_changes_one_line(file_format, newline):
    @EXAMPLES
    @given(st.data())
    def check(data):
        _document, lines = data.draw(files(file_format))
        steps = ("main", "steps") if file_format == "ini" else ("steps",)
        wrong = [
            (text.replace("7", '"x"', 1) if path == steps else text, path) for text, path in lines
        ]
        right = [
            (text.replace("7", "20", 1) if path == steps else text, path) for text, path in lines
        ]
        with tempfile.TemporaryDirectory() as folder:
            key = ConfigKey(".".join(steps), "integer", has_default=True, default=20)
            bench = Bench(Path(folder), file_format, key)
            bench.mend(joined(wrong, newline))
            assert bench.path.read_bytes() == joined(right, newline)

    check()


@pytest.mark.parametrize("file_format", ["json", "toml", "ini"])
def test_of_a_cut_file_all_that_stands_before_the_cut_is_kept(file_format):
    @EXAMPLES
    @given(st.data())
    def check(data):
        document, lines = data.draw(files(file_format))
        whole = data.draw(st.integers(0, len(lines) - 1))
        text = joined(lines[:whole]) + joined(lines[whole:])[: data.draw(st.integers(0, 12))]
        found = mended(file_format, text)
        values = leaves(document)
        for _text, path in lines[:whole]:
            if found is not None and path in values:
                assert found[path] == values[path]
        if file_format == "json" and found is not None:  # nothing is half a value or elsewhere
            assert all(
                values.get(path, 20) == value for path, value in found.items() if value != 20
            )

    check()


@pytest.mark.parametrize("file_format", ["json", "toml", "ini"])
def test_a_lost_line_costs_only_what_stood_on_it(file_format):
    @EXAMPLES
    @given(st.data())
    def check(data):
        document, lines = data.draw(files(file_format))
        lost = data.draw(st.integers(0, len(lines) - 1))
        hurt = lines[lost][1]
        is_header = lines[lost][0].startswith("[") and file_format != "json"
        found = mended(file_format, joined(lines[:lost] + lines[lost + 1 :]))
        # Without its header a table of TOML or INI belongs to the one above, for every reader.
        if not is_header:
            assert_kept(document, found, hurt or ("nothing",))
        if file_format == "json" and found is not None:
            assert found.keys() <= leaves(document).keys()

    check()


@pytest.mark.parametrize("file_format", ["json", "toml", "ini"])
def test_a_flipped_bit_costs_only_its_line(file_format):
    @EXAMPLES
    @given(st.data())
    def check(data):
        document, lines = data.draw(files(file_format))
        seat = data.draw(st.integers(0, len(lines) - 1))
        line = bytearray(lines[seat][0].encode())
        at = data.draw(st.integers(0, len(line) - 1))
        line[at] ^= 1 << data.draw(st.integers(0, 7))
        is_more = file_format == "ini" and line.decode("latin-1")[0].isspace()
        if b"\n" in line or b"/*" in line or is_more:  # a longer value, for every reader
            return
        text = joined(lines[:seat]) + bytes(line) + b"\n" + joined(lines[seat + 1 :])
        assert_kept(document, mended(file_format, text), lines[seat][1] or ("nothing",))

    check()


@pytest.mark.parametrize("file_format", ["json", "toml", "ini"])
def test_any_bytes_end_in_a_good_file_or_a_refusal(file_format):
    key = ConfigKey("a.b", "string", has_default=True, default="x")

    @EXAMPLES
    @given(
        st.one_of(st.binary(max_size=60), st.text("{}[]:,\"'=#;\\/*\n\r\t ab.1\ufeff", max_size=60))
    )
    def check(data):
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder), file_format, key)
            try:
                bench.mend(data)
            except RecoveryRefused:
                assert bench.path.read_bytes() == (data.encode() if isinstance(data, str) else data)

    check()
