#!/usr/bin/env python3
"""Builds the images of the coordinator and of the worker (CPU) and runs them as a strict cluster would: read-only root, no
rights, a user id that no one has heard of, PID 1, signals, and a sweep from submission to its results.

Needs Debian's buildah, podman, runc and mmdebstrap, and root. Unless told otherwise it asks no image registry: the bases are
made by mmdebstrap from Debian's packages, libtorch comes from the user's cache (`make setup`), and the programs are those
that were built before. What was therefore not done is said at the end.

    images_test.py --programs target/release        # what `make images-test` does
    images_test.py --compile --pinned-bases         # exactly the Dockerfiles, with a registry
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCKER = ROOT / "deploy" / "docker"
NEEDED = {"buildah": "buildah", "podman": "podman", "runc": "runc", "mmdebstrap": "mmdebstrap"}
# On a disk, as layers are no use in memory; `--keep` leaves it, for a faster second run.
STORAGE = pathlib.Path("/var/lib/sweep-images-test")
PREFIX = "localhost/sweep-images-test"
DEBIAN, PYTHON = f"{PREFIX}/debian", f"{PREFIX}/python"
COORDINATOR, WORKER = f"{PREFIX}/coordinator", f"{PREFIX}/worker"
# crun of Debian 12 does not run everywhere; cgroupfs needs no systemd.
PODMAN = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]
# As a cluster that chooses user ids does: no one that the image knows, in group 0.
STRANGER = "471100:0"
STRICT = ["--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
PATIENCE_SECONDS = 120
GRACE_SECONDS = 4
SWEEP = """name: images-test
model: simple_cnn
method: grid
metric: {name: val_accuracy, goal: maximize}
dataset: {path: train, image_size: 32, val_fraction: 0.2, split_seed: 0}
parameters:
  learning_rate: {values: [0.001, 0.0001]}
  epochs: {value: EPOCHS}
"""


class Failed(Exception):
    """A promise that an image does not keep."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "target" / "release", help="folder of the built programs")
    parser.add_argument("--compile", action="store_true", help="compile in the Dockerfiles instead")
    parser.add_argument("--pinned-bases", action="store_true", help="the Dockerfiles' own bases, from their registry")
    parser.add_argument("--keep", action="store_true", help=f"keep the images, in {STORAGE}")
    options = parser.parse_args()
    missing = sorted(package for program, package in NEEDED.items() if shutil.which(program) is None)
    if missing:
        print(f"error: {', '.join(missing)} missing; on Debian: apt install {' '.join(missing)}", file=sys.stderr)
        return 1
    if os.geteuid() != 0:
        print("error: containers are started as root here; run it with sudo", file=sys.stderr)
        return 1
    if options.compile and not options.pinned_bases:
        print("error: --compile needs the base with Rust: give --pinned-bases, too", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="sweep-images-") as folder:
        work = pathlib.Path(folder)
        # Not the user's own images, containers and volumes.
        os.environ["CONTAINERS_STORAGE_CONF"] = str(storage(work))
        os.environ.setdefault("BUILDAH_ISOLATION", "chroot")
        try:
            build(options, work)
            check_coordinator()
            check_worker(work)
        except Failed as failure:
            print(f"FAILED: {failure}", file=sys.stderr)
            return 1
        finally:
            run([*PODMAN, "rm", "--all", "--force", "--volumes"], check=False)
            run([*PODMAN, "volume", "prune", "--force"], check=False)
            if not options.keep:
                # podman leaves it mounted.
                run(["umount", "--lazy", str(STORAGE / "overlay")], check=False)
                shutil.rmtree(STORAGE, ignore_errors=True)
    print("the images keep their promises")
    for line in not_done(options):
        print(f"NOT DONE: {line}")
    return 0


def not_done(options: argparse.Namespace) -> list[str]:
    lines = ["the target gpu of the worker: it takes 5 GB, and what it is for needs a GPU"]
    if not options.compile:
        lines.append(f"compiling in the Dockerfiles: the programs are those of {options.programs}")
    if not options.pinned_bases:
        lines.append("the pinned bases: Debian 12 was put together by mmdebstrap, so sizes are larger than with the slim base")
    return lines


def storage(work: pathlib.Path) -> pathlib.Path:
    """The configuration of a storage of this test's own."""
    path = work / "storage.conf"
    path.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{STORAGE}"\nrunroot = "{work}/run"\n')
    return path


def run(command: list[str], *, check: bool = True, within: int | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=within)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done


def build(options: argparse.Namespace, work: pathlib.Path) -> None:
    arguments, context = [], ROOT
    if not options.compile:
        context = context_of_built(options.programs, work)
        arguments += ["--build-arg", "PROGRAMS=built-before"]
    if not options.pinned_bases:
        make_bases(work)
        arguments += ["--build-arg", f"DEBIAN={DEBIAN}", "--build-arg", f"PYTHON={PYTHON}"]
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sweep"
    if (cache / "libtorch").is_dir():
        # The stage finds libtorch there and fetches nothing.
        arguments += ["--volume", f"{cache}:/root/.cache/sweep:ro"]
    for image, file, more in [(COORDINATOR, "coordinator", []), (WORKER, "worker", ["--target", "cpu"])]:
        begun = time.monotonic()
        path = DOCKER / f"{file}.Dockerfile"
        # Docker finds the list of what to leave out by its name.
        more = [*more, "--ignorefile", f"{path}.dockerignore"]
        run(["buildah", "bud", "--file", str(path), *more, *arguments, "--tag", image, str(context)])
        facts = json.loads(run([*PODMAN, "image", "inspect", image]).stdout)[0]
        user = facts["Config"].get("User", "")
        expect(user and not user.startswith(("0", "root")), f"{image} runs as root: {user!r}")
        expect(facts["Config"].get("Entrypoint"), f"{image} has no entry point")
        print(f"{file}: built in {time.monotonic() - begun:.0f} s, {facts['Size'] / 1e6:.0f} MB, user {user}")


def context_of_built(programs: pathlib.Path, work: pathlib.Path) -> pathlib.Path:
    """What the Dockerfiles copy when they compile nothing."""
    context = work / "context"
    (context / "target" / "release").mkdir(parents=True)
    (context / "deploy" / "setup").mkdir(parents=True)
    for name in ("sweep", "sweep-worker", "sweep-trainer"):
        if not (programs / name).is_file():
            raise Failed(f"{programs / name} is missing; run `make build`, or name the folder with --programs")
        shutil.copy2(programs / name, context / "target" / "release")
    shutil.copy2(ROOT / "deploy" / "setup" / "libtorch.py", context / "deploy" / "setup")
    return context


def make_bases(work: pathlib.Path) -> None:
    """Debian 12 without anything, and the same with Python."""
    if run([*PODMAN, "image", "exists", PYTHON], check=False).returncode == 0:
        return
    archive = work / "debian.tar"
    run(["mmdebstrap", "--variant=minbase", "bookworm", str(archive)])
    run([*PODMAN, "import", str(archive), DEBIAN])
    archive.unlink()
    file = work / "python.Dockerfile"
    file.write_text(f"FROM {DEBIAN}\nRUN apt-get update && apt-get install -y --no-install-recommends python3\n")
    run(["buildah", "bud", "--file", str(file), "--tag", PYTHON, str(work)])


def expect(holds: object, what: str) -> None:
    if not holds:
        raise Failed(what)


class Container:
    """A container that runs, with the host's network (of which the tests use the loopback alone)."""

    def __init__(self, image: str, arguments: list[str], *, user: str = STRANGER, mounts: list[str], environment: tuple[str, ...] = ()):
        self.name = f"sweep-images-{uuid.uuid4().hex[:8]}"
        run([*PODMAN, "run", "--detach", "--name", self.name, *common(user, mounts, environment), image, *arguments])

    def log(self) -> str:
        done = run([*PODMAN, "logs", self.name], check=False)
        return done.stdout + done.stderr

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while words not in self.log():
            state = self.inspect("{{.State.Status}}")
            expect(state == "running", f"{self.name} is {state} before it says {words!r}:\n{self.log()}")
            expect(time.monotonic() < deadline, f"{self.name} does not say {words!r}:\n{self.log()}")
            time.sleep(0.2)

    def inspect(self, what: str) -> str:
        return run([*PODMAN, "inspect", "--format", what, self.name]).stdout.strip()

    def processes(self) -> list[tuple[str, str]]:
        """Name and state of each process in it, the first one first."""
        script = "for p in /proc/[0-9]*; do cat $p/stat 2>/dev/null; done"
        lines = run([*PODMAN, "exec", self.name, "sh", "-c", script]).stdout.splitlines()
        found = [(int(line.split(" ", 1)[0]), line[line.index("(") + 1 : line.rindex(")")], line[line.rindex(")") + 2]) for line in lines]
        return [(name, state) for _, name, state in sorted(found)]

    def terminate(self, within: float) -> int:
        """Sends SIGTERM, as the kubelet does; the exit status."""
        begun = time.monotonic()
        run([*PODMAN, "kill", "--signal", "TERM", self.name])
        try:
            status = run([*PODMAN, "wait", self.name], within=PATIENCE_SECONDS).stdout.strip()
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} does not end on SIGTERM:\n{self.log()}") from None
        taken = time.monotonic() - begun
        expect(taken < within, f"{self.name} took {taken:.1f} s to end, not {within}:\n{self.log()}")
        return int(status)


def common(user: str, mounts: list[str], environment: tuple[str, ...] = ()) -> list[str]:
    limits = []
    # Below those of this process: raising them takes a right that a sandbox's root lacks.
    for name, limit, most in [("nofile", resource.RLIMIT_NOFILE, 16384), ("nproc", resource.RLIMIT_NPROC, 4096)]:
        hard = resource.getrlimit(limit)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        limits += ["--ulimit", f"{name}={value}:{value}"]
    options = ["--network", "host", *STRICT, *limits, "--user", user]
    for mount in mounts:
        options += ["--volume", mount]
    for variable in environment:
        options += ["--env", variable]
    return options


def once(image: str, arguments: list[str], mounts: list[str], *, program: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    entry = ["--entrypoint", program] if program else []
    return run([*PODMAN, "run", "--rm", *common(STRANGER, mounts), *entry, image, *arguments], check=check)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check_coordinator() -> None:
    once(COORDINATOR, ["-c", "test -s /etc/ssl/certs/ca-certificates.crt"], [], program="sh")
    listen = [f"--listen=127.0.0.1:{free_port()}"]
    store = f"store-{uuid.uuid4().hex[:8]}:/var/lib/sweep"
    for life in ("first", "second"):
        coordinator = Container(COORDINATOR, ["serve", *listen], mounts=[store])
        coordinator.wait_for("the coordinator is ready")
        expect(coordinator.processes()[0][0] == "sweep", f"PID 1 is {coordinator.processes()[0]}")
        status = coordinator.terminate(within=10)
        expect(status == 0, f"the coordinator's {life} run ended with {status}:\n{coordinator.log()}")
    print("coordinator: runs as PID 1 of a stranger on a read-only root, leaves on SIGTERM, finds its store again")


def check_worker(work: pathlib.Path) -> None:
    port = free_port()
    data, store = f"data-{uuid.uuid4().hex[:8]}:/data", f"store-{uuid.uuid4().hex[:8]}:/var/lib/sweep"
    url = f"--coordinator=http://127.0.0.1:{port}"
    files = work / "files"
    files.mkdir()
    files.chmod(0o755)
    for name, epochs in [("short", 1), ("long", 10000)]:
        (files / f"{name}.yaml").write_text(SWEEP.replace("EPOCHS", str(epochs)))
    mounts = [f"{files}:/files:ro"]
    once(WORKER, ["dataset", "synth", "/data/train", "--images", "60", "--seed", "0"], [data])
    coordinator = Container(COORDINATOR, ["serve", f"--listen=127.0.0.1:{port}"], mounts=[store])
    coordinator.wait_for("the coordinator is ready")
    start = ["start", url, "--slots=1", f"--grace={GRACE_SECONDS}s"]
    worker = Container(WORKER, start, mounts=[data])
    worker.wait_for("connected to the coordinator")
    number = once(COORDINATOR, ["submit", url, "/files/short.yaml", "--format=name"], mounts).stdout.strip()
    once(COORDINATOR, ["wait", url, number, f"--timeout={PATIENCE_SECONDS}s"], [])
    processes = worker.processes()
    expect(processes[0][0] == "sweep-worker", f"PID 1 is {processes[0]}")
    expect(all(state != "Z" for _, state in processes), f"the worker leaves the dead unburied: {processes}")
    print("worker: trains as PID 1 of a stranger on a read-only root, with no process left over")
    number = once(COORDINATOR, ["submit", url, "/files/long.yaml", "--format=name"], mounts).stdout.strip()
    wait_until_running(url, number)
    status = worker.terminate(within=15)
    expect(status == 0, f"a worker with a job ended with {status}:\n{worker.log()}")
    print("worker: hands its job back on SIGTERM and leaves within the 15 s of the overlay for spot nodes")
    check_folders_of_another(work, url, data)
    expect(coordinator.terminate(within=10) == 0, f"the coordinator did not end well:\n{coordinator.log()}")


def wait_until_running(url: str, number: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        jobs = json.loads(once(COORDINATOR, ["jobs", url, number, "--format=json"], []).stdout)
        if any(job["state"] == "running" for job in jobs):
            return
        expect(time.monotonic() < deadline, f"no job runs: {jobs}")
        time.sleep(0.2)


def check_folders_of_another(work: pathlib.Path, url: str, data: str) -> None:
    """A user and a group that the image does not know, with volumes that they may write to, and checkpoints in a bucket, whose
    client needs the certificates of authorities when it starts."""
    places = []
    for place in ("spool", "cache"):
        (work / place).mkdir()
        os.chown(work / place, 4711, 4711)
        places.append(work / place)
    mounts = [data + ":ro", f"{places[0]}:/var/lib/sweep", f"{places[1]}:/var/cache/sweep"]
    keys = ("AWS_ACCESS_KEY_ID=none", "AWS_SECRET_ACCESS_KEY=none", "AWS_REGION=none")
    start = ["start", url, "--slots=1", f"--grace={GRACE_SECONDS}s", "--checkpoints=s3://sweep-images-test/checkpoints"]
    worker = Container(WORKER, start, user="4711:4711", mounts=mounts, environment=keys)
    worker.wait_for("connected to the coordinator")
    status = worker.terminate(within=15)
    expect(status == 0, f"a worker with a bucket ended with {status}:\n{worker.log()}")
    print("worker: runs as user 4711 of group 4711 on volumes of theirs, and makes a client for a bucket")


if __name__ == "__main__":
    sys.exit(main())
