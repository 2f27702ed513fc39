#!/usr/bin/env python3
"""Puts the tools that only tests need into the user's cache: a validator of Kubernetes manifests.

Needs pip and no root. kubectl is taken from the PATH; without it the tests check each manifest by itself, but not
what kustomize makes of them, and say so.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

VALIDATOR = "kubernetes-validate==1.37.0"


def main() -> int:
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sweep" / "tools"
    target = cache / VALIDATOR.replace("==", "-")
    if not (target / "complete").exists():
        install(cache, target)
    print(f"{VALIDATOR} is in {target}")
    if shutil.which("kubectl") is None:
        print("kubectl is not on the PATH: the tests will not render the kustomize overlays")
    return 0


def install(cache: pathlib.Path, target: pathlib.Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="installing-", dir=cache))
    try:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(work), VALIDATOR]
        environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
        finished = subprocess.run(command, capture_output=True, text=True, env=environment)
        if finished.returncode != 0:
            last = "\n  ".join(finished.stderr.strip().splitlines()[-3:])
            sys.exit(f"error: pip could not install {VALIDATOR}; check the network and `pip config list`:\n  {last}")
        (work / "complete").touch()
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
