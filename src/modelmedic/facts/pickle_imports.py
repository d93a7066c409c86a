"""What a pickle would import if somebody loaded it: read from its opcodes, never loaded.

A pickle is a program; its imports are all it can call. The opcodes are followed with a stack and
a memo as the unpickler's own, so that a name put together from strings is known; what cannot be
known is said to be unknown, never fine.

Sources: ``pickletools`` (what each opcode takes and leaves), ``Modules/_pickle.c`` of CPython,
``torch/_weights_only_unpickler.py`` (what PyTorch itself lets a checkpoint import).
"""

from __future__ import annotations

import io
import pickletools
import re
from dataclasses import dataclass, field
from typing import Any

from modelmedic.text import printable

# A tensor takes some 60 opcodes and 150 bytes: this is room for 30,000 of them, ten times what
# the largest known checkpoint has.
MAX_PICKLE_BYTES = 16 << 20
MAX_OPCODES = 2_000_000
_MAX_LINE_BYTES = 1 << 16  # of the text opcodes; a number of megabytes would take minutes to read

_STORAGES = (
    "BFloat16 Bool Byte Char ComplexDouble ComplexFloat Double Float Half Int Long QInt32 QInt8 "
    "QUInt2x4 QUInt4x2 QUInt8 Short Typed Untyped"
)
_DTYPES = (
    "bfloat16 bool complex128 complex32 complex64 double float float16 float32 float64 "
    "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu half int int16 "
    "int32 int64 int8 long qint32 qint8 quint2x4 quint4x2 quint8 short uint16 uint32 uint64 uint8"
)
_REBUILDERS = (
    "_rebuild_device_tensor_from_numpy _rebuild_meta_tensor_no_storage _rebuild_nested_tensor "
    "_rebuild_parameter _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor "
    "_rebuild_sparse_csr_tensor _rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 "
    "_rebuild_wrapper_subclass"
)
# Each is data or makes data of its arguments. Not here on purpose: torch.storage._load_from_bytes
# (loads a pickle inside the pickle), builtins.getattr, anything of torch.jit or torch.hub.
ALLOWED = frozenset(
    {
        "_codecs.encode", "builtins.bytearray", "builtins.complex", "builtins.set",
        "__builtin__.bytearray", "__builtin__.complex", "__builtin__.set",
        "collections.Counter", "collections.OrderedDict",
        "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct", "numpy._core.multiarray.scalar",
        "numpy.dtype", "numpy.ndarray",
        "torch.Size", "torch.Tensor", "torch.device", "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout", "torch._tensor._rebuild_from_type_v2",
        "torch.storage.TypedStorage", "torch.storage.UntypedStorage", "torch.storage._TypedStorage",
        "torch.storage._UntypedStorage",
    }
    | {f"torch.{name}Storage" for name in _STORAGES.split()}
    | {f"torch.{name}" for name in _DTYPES.split()}
    | {f"torch._utils.{name}" for name in _REBUILDERS.split()}
)  # fmt: skip
_NUMPY_DTYPE = re.compile(r"numpy\.dtypes\.[A-Z][A-Za-z0-9]*DType")

# PyTorch before 1.6 wrote five pickles one after the other: this number, a protocol, facts of
# the system, the state dict, the keys of the storages; then the storages' bytes.
# Source: torch/serialization.py, MAGIC_NUMBER and _legacy_load.
_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PICKLES = 5

_TEXTS = frozenset(
    {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING",
     "SHORT_BINSTRING"}
)  # fmt: skip
_CHANGES = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
_CALLS = frozenset({"REDUCE", "NEWOBJ", "NEWOBJ_EX"})
_STORES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_FETCHES = frozenset({"GET", "BINGET", "LONG_BINGET"})


@dataclass(frozen=True, slots=True)
class Imports:
    """What pickles would import.

    Args:
        names: Every import, as ``module.name``.
        foreign: Those that no checkpoint needs, sorted.
        unknown: Why not all can be known, as a sentence; "" when all are.
    """

    names: frozenset[str] = frozenset()
    foreign: tuple[str, ...] = ()
    unknown: str = ""

    def __or__(self, other: Imports) -> Imports:
        foreign = sorted({*self.foreign, *other.foreign})
        return Imports(self.names | other.names, tuple(foreign), self.unknown or other.unknown)


def is_allowed(name: str) -> bool:
    """Return whether a checkpoint may import ``module.name``."""
    return name in ALLOWED or _NUMPY_DTYPE.fullmatch(name) is not None


def scan(data: bytes, *, is_whole: bool = True) -> Imports:
    """Return what the pickles in ``data`` would import.

    Args:
        data: One pickle, or the beginning of a checkpoint from before PyTorch 1.6.
        is_whole: Whether the file ends where ``data`` ends.
    """
    stream = _Stream(data)
    found = Imports()
    count, most = 0, 1
    while count < most:
        program = _Program(stream)
        found |= program.run()
        count += 1
        if found.unknown:
            return found
        if count == 1 and program.result == _MAGIC:
            most = _LEGACY_PICKLES
    is_legacy = most == _LEGACY_PICKLES
    if not is_legacy and (stream.tell() < len(data) or not is_whole):
        return found | _unknown("bytes follow its end, which another program may read as code")
    return found


def _unknown(why: str) -> Imports:
    return Imports(unknown=f"What it would import cannot be known: {why}.")


class _Stream(io.BytesIO):
    """The bytes of a pickle, whose lines have an end."""

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return one line.

        Raises:
            ValueError: It is longer than any name or number of a checkpoint.
        """
        del size
        line = super().readline(_MAX_LINE_BYTES + 1)
        if len(line) > _MAX_LINE_BYTES:
            raise ValueError("a line has no end")
        return line


@dataclass(frozen=True, slots=True)
class _Import:
    name: str


class _Mark:
    """The unpickler's mark."""


class _Thing:
    """Any value that is neither text, number nor import."""


_MARK, _THING = _Mark(), _Thing()


@dataclass(slots=True)
class _Program:
    """One pickle, followed opcode by opcode."""

    stream: _Stream
    result: object = None
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    doubt: str = ""  # the first thing that was not clear; what comes after is followed all the same

    def run(self) -> Imports:
        """Return what it would import; leaves the stream behind its end."""
        try:
            for count, (opcode, argument, _at) in enumerate(pickletools.genops(self.stream)):
                if count >= MAX_OPCODES:
                    self._doubt(f"it has more than {MAX_OPCODES:,} steps")
                    break
                self._follow(opcode, argument)
        except (ValueError, LookupError, OverflowError) as error:
            self._doubt(f"it is damaged ({printable(error)})")
        foreign = tuple(sorted(name for name in self.names if not is_allowed(name)))
        found = Imports(frozenset(self.names), foreign)
        return found | _unknown(self.doubt) if self.doubt else found

    def _doubt(self, why: str) -> None:
        self.doubt = self.doubt or why

    def _follow(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        name = opcode.name
        if name == "STOP":
            self.result = self._pop()
        elif name in {"GLOBAL", "STACK_GLOBAL"}:
            self.stack.append(self._named(name, argument))
        elif name.startswith("EXT"):
            self._doubt(f"it takes entry {argument} of a table that each program fills")
            self.stack.append(_THING)
        elif name == "MEMOIZE" or name in _STORES:
            self.memo[len(self.memo) if name == "MEMOIZE" else int(argument)] = self._top()
        elif name in _FETCHES:
            self.stack.append(self.memo[int(argument)])
        elif name == "DUP":
            self.stack.append(self._top())
        elif name == "POP" and self.stack and self.stack[-1] is _MARK:
            self.stack.pop()
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name in _TEXTS or name in {"LONG1", "LONG4", "LONG", "INT"}:
            self.stack.append(argument)
        else:
            self._take_and_leave(opcode, argument)

    def _named(self, opcode: str, argument: Any) -> _Import | _Thing:
        if opcode == "GLOBAL":
            parts = str(argument).split(" ")
            if len(parts) != 2:  # noqa: PLR2004 - module and name; a third is no identifier
                parts = [repr(argument)]
        else:
            parts = [self._pop(), self._pop()][::-1]
            if not all(isinstance(part, str) for part in parts):
                self._doubt("a name it imports is made while it runs")
                return _THING
        found = _Import(".".join(parts))
        self.names.add(found.name)
        return found

    def _take_and_leave(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Take from the stack what an opcode takes and leave what it leaves."""
        taken = self._take(opcode.stack_before)
        name = opcode.name
        if name == "INST":
            self._named("GLOBAL", argument)
        elif name == "OBJ":
            # Between the mark and the rest lies the class.
            self._require_import(taken[0] if taken else None)
        elif name in _CALLS:
            self._require_import(taken[0])
        elif name in _CHANGES and isinstance(taken[0], _Import):
            self._doubt(f"it changes {printable(taken[0].name)} itself, not a copy of it")
        left = [taken[0]] if name in _CHANGES else [_THING] * len(opcode.stack_after)
        self.stack.extend(left)

    def _take(self, before: list[pickletools.StackObject]) -> list[Any]:
        """Pop what stands in an opcode's "before"; the mark is left out of what is returned."""
        taken: list[Any] = []
        below = before
        if pickletools.markobject in before:
            while (each := self.stack.pop()) is not _MARK:
                taken.insert(0, each)
            below = before[: before.index(pickletools.markobject)]
        for _each in below:
            taken.insert(0, self._pop())
        return taken

    def _require_import(self, called: object) -> None:
        if not isinstance(called, _Import):
            self._doubt("it calls something that it does not import")

    def _top(self) -> Any:
        if self.stack[-1] is _MARK:
            raise IndexError("a mark stands where a value belongs")
        return self.stack[-1]

    def _pop(self) -> Any:
        self._top()
        return self.stack.pop()
