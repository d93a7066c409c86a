"""Run as a child: make and drop temporary files for ever, until it is killed."""

from __future__ import annotations

import sys
from pathlib import Path


def main(install: Path, state: Path, stage: str) -> None:
    from modelmedic.reliability.temporary import TemporaryFiles

    with TemporaryFiles(install, state_dir=state) as temporary:
        number = 0
        while True:
            number += 1
            file = temporary.file(f"models/{number}.part")
            file.write_bytes(b"x" * number)
            folder = temporary.folder(f"work-{number}")
            (folder / "inner").mkdir()
            (folder / "inner/data.bin").write_bytes(b"y" * 100)
            (folder / "link").symlink_to(install / "precious")
            done = install / f"models/{number}.bin"
            file.rename(done)
            temporary.keep(file)
            print(number, flush=True)  # noqa: T201 - the parent reads it
            if stage == "exit":
                sys.exit(3)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
