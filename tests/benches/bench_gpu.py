"""`make bench-gpu`: the report's experiment on an NVIDIA GPU, with programs that were built before.

Needs a GPU and a PyTorch 2.11 with CUDA, whose torch/lib is found through `LD_LIBRARY_PATH` or the Python that runs
this. Measures the sixteen jobs at five epochs from submit to report once the data set is on the device, twice, as the
coordinator learns in the first run how large packs pay, and packs of eight against one job alone, of ReLU and of both
activations. The images are made on the spot, as a packed file. `--device cpu` with few images
tries out everything but the GPU.
"""

import argparse
import contextlib
import csv
import hashlib
import importlib.util
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
GRID = REPOSITORY / "deploy/examples/activation-lr-batch.yaml"
JOBS = 16
SIDE = 128
# Room that a pack keeps for its header (worker/dataset/src/packed.rs).
HEADER_BYTES = 256 << 10
# Bars for an H200.
SECONDS_MAX = 15.0
PACKED_RATIO_MIN = 4.0
MEMBERS = 8
READY_SECONDS_MAX = 60


def fail(reason: str) -> None:
    sys.exit(f"error: {reason}")


def libraries() -> str:
    """The folder of libtorch's CUDA half."""
    folders = [pathlib.Path(folder) for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    found = importlib.util.find_spec("torch")
    if found and found.origin:
        folders.append(pathlib.Path(found.origin).parent / "lib")
    for folder in folders:
        if (folder / "libtorch_cuda.so").exists():
            return str(folder)
    fail("no libtorch_cuda.so in LD_LIBRARY_PATH, nor a PyTorch with CUDA in this Python; install torch==2.11.0, or "
         "name its torch/lib in LD_LIBRARY_PATH, or run with PYTHON=/its/python")


def write_pack(path: pathlib.Path, images: int) -> None:
    """Noise, the second class brighter, in the format of `sweep-worker dataset pack`."""
    noise = random.Random(0).randbytes(SIDE * SIDE * 3 * 64)
    brighter = bytes(128 + value // 2 for value in range(256))
    image_bytes, labels, digest = SIDE * SIDE * 3, bytes(number % 2 for number in range(images)), hashlib.sha256()
    with path.open("wb") as file:
        file.seek(8 + HEADER_BYTES)
        for label in labels:
            # Windows into the noise, so that no two images are alike.
            start = random.Random(file.tell()).randrange(len(noise) - image_bytes)
            image = noise[start:start + image_bytes]
            image = image.translate(brighter) if label else image
            digest.update(image)
            file.write(image)
        file.write(labels)
        end = images * image_bytes
        header = json.dumps({
            "__metadata__": {
                "format": "sweep-dataset", "transform_version": "1", "image_size": str(SIDE),
                "classes": '["cat","dog"]', "content_hash": digest.hexdigest(), "skipped": "[]", "skipped_count": "0",
            },
            "images": {"dtype": "U8", "shape": [images, SIDE, SIDE, 3], "data_offsets": [0, end]},
            "labels": {"dtype": "U8", "shape": [images], "data_offsets": [end, end + images]},
        })
        file.seek(0)
        file.write(HEADER_BYTES.to_bytes(8, "little") + header.encode().ljust(HEADER_BYTES))


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.release = options.target / "release"
        for program in ("sweep", "sweep-worker", "sweep-trainer", "examples/pack_speed"):
            if not (self.release / program).exists():
                fail(f"{self.release / program} is not built; build with `make build` and "
                     "`cargo build --release --locked --workspace --examples`, here or on a machine like this")
        self.environment = os.environ | {"LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")}
        if options.device == "cuda":
            self.environment["LD_LIBRARY_PATH"] = f"{libraries()}:{self.environment['LD_LIBRARY_PATH']}"
            if '"cuda' not in self.output("sweep-worker", "devices"):
                fail("this machine has no GPU that libtorch can use (`sweep-worker devices` lists what it finds)")
        self.rows = []

    def output(self, program: str, *arguments: object) -> str:
        command = [str(self.release / program), *map(str, arguments)]
        finished = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if finished.returncode != 0:
            fail(f"{' '.join(command)} ended with {finished.returncode}\n{finished.stdout}{finished.stderr}")
        return finished.stdout

    def add(self, name: str, value: float, unit: str, baseline: float | None, ratio: float | None) -> None:
        row = {"name": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio}
        with open(self.options.target / "bench.jsonl", "a") as lines:
            lines.write(json.dumps(row) + "\n")
        self.rows.append(row)
        print(f"{name}: {value:.2f} {unit}", file=sys.stderr)

    def experiment(self, precision: str) -> None:
        """From submit to report, with coordinator and worker running and the data set on the device."""
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
            folder = pathlib.Path(folder)
            images = folder / "images.safetensors"
            write_pack(images, self.options.images)
            address = self.serve(running, folder)
            self.start(running, "sweep-worker", "start", "--coordinator", address, "--device", self.options.device,
                       "--spool", folder / "spool", "--name", "gpu")
            self.sweep(address, folder, images, precision, "activation=relu", "learning_rate=0.0001", "batch_size=32",
                       "epochs=1")
            for learnt in ("", ", sizes of packs known"):
                started = time.perf_counter()
                results = self.sweep(address, folder, images, precision, f"epochs={self.options.epochs}")
                seconds = time.perf_counter() - started
                with (results / "results.csv").open() as file:
                    sizes = [row["pack_size"] for row in csv.DictReader(file)]
                if len(sizes) != JOBS:
                    fail(f"{len(sizes)} jobs are in the report instead of {JOBS}")
                print(f"packs of {', '.join(sizes)} jobs", file=sys.stderr)
                self.add(f"{JOBS} jobs, {self.options.epochs} epochs of {self.options.images} images, {precision}{learnt}",
                         seconds, "s", SECONDS_MAX, SECONDS_MAX / seconds)

    def sweep(self, address: str, folder: pathlib.Path, images: pathlib.Path, precision: str, *changes: str) -> pathlib.Path:
        """Submits, waits and writes the report."""
        settings = [part for change in (f"precision={precision}", *changes) for part in ("--set", change)]
        sweep = self.output("sweep", "submit", "--coordinator", address, "--dataset", images, "--format", "name",
                            *settings, GRID).split()[-1]
        self.output("sweep", "wait", "--coordinator", address, sweep)
        results = folder / f"results-{sweep}"
        self.output("sweep", "report", "--coordinator", address, "--output", results, sweep)
        return results

    def serve(self, running: contextlib.ExitStack, folder: pathlib.Path) -> str:
        coordinator = self.start(running, "sweep", "serve", "--log-format", "json", "--listen", "127.0.0.1:0",
                                 "--store", f"sqlite:{folder / 'sweep.db'}", log=folder / "coordinator.log")
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline and coordinator.poll() is None:
            for line in (folder / "coordinator.log").read_text().splitlines():
                with contextlib.suppress(ValueError):
                    fields = json.loads(line).get("fields", {})
                    if fields.get("message") == "the coordinator is ready":
                        return f"http://{fields['address']}"
            time.sleep(0.05)
        fail("the coordinator did not start:\n" + (folder / "coordinator.log").read_text())

    def start(self, running: contextlib.ExitStack, program: str, *arguments: object,
              log: pathlib.Path | None = None) -> subprocess.Popen:
        errors = running.enter_context(log.open("w")) if log else subprocess.DEVNULL
        command = [str(self.release / program), *map(str, arguments)]
        child = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=errors)
        running.callback(child.wait)
        running.callback(child.send_signal, signal.SIGTERM)
        return child

    def packs(self, precision: str, activations: str) -> None:
        """Images a second of eight packed jobs against one alone."""
        found = self.output("examples/pack_speed", "--device", self.options.device, "--sizes", f"1,{MEMBERS}",
                            "--precision", precision, "--images", min(self.options.images, 5000),
                            "--activations", activations)
        speeds = {}
        for line in found.splitlines():
            words = line.split()
            if words and words[0].isdigit():
                speeds[int(words[0])] = float(words[1])
        if set(speeds) != {1, MEMBERS}:
            fail(f"pack_speed said something else than expected:\n{found}")
        ratio = speeds[MEMBERS] / speeds[1]
        self.add(f"{MEMBERS} packed jobs, {activations}, {precision} (bar: {PACKED_RATIO_MIN:.0f} times one alone)",
                 speeds[MEMBERS], "images/s", speeds[1], ratio)

    def print(self) -> None:
        print("| what | value | unit | baseline | ratio |\n|---|---|---|---|---|")
        for row in self.rows:
            print(f"| {row['name']} | {row['value']:.2f} | {row['unit']} | {row['baseline']:.2f} | {row['ratio']:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=pathlib.Path, default=REPOSITORY / "target", help="cargo's target folder")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--images", type=int, default=25_000)
    parser.add_argument("--epochs", type=int, default=5)
    bench = Bench(parser.parse_args())
    for precision in ("fp32", "bf16"):
        bench.experiment(precision)
        for activations in ("relu", "relu,sigmoid"):
            bench.packs(precision, activations)
    bench.print()


if __name__ == "__main__":
    main()
