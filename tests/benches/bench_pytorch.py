"""`make bench-pytorch`: sweep against the report's way in PyTorch (pytorch_reference.py), on this machine's CPU.

Runs are interleaved, so that whatever else the machine does falls on all; medians count, and smallest and largest are
told. Figures go to target/bench.jsonl, too; `ratio` says how many times better than the baseline sweep is. Run by the
Python of the virtual environment, which has Pillow.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
REFERENCE = pathlib.Path(__file__).with_name("pytorch_reference.py")
GRID = REPOSITORY / "deploy/examples/activation-lr-batch.yaml"
JOBS = 16
# What the pictures of Dogs vs. Cats measure, nearly all of them; at this quality a file has the 23 kB of theirs.
PICTURE = (450, 375)
QUALITY = 80
# Pictures that are drawn; larger sets repeat them under other names.
DRAWN = 500
# Both sides' training loop alone.
LOOP_IMAGES = 320


class Bench:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.work = options.target / "bench-pytorch"
        self.work.mkdir(parents=True, exist_ok=True)
        self.rows = []

    def program(self, name: str) -> str:
        return str(self.options.target / "release" / name)

    def pictures(self, count: int) -> pathlib.Path:
        """A folder of class folders with JPEGs of `PICTURE` pixels."""
        folder = self.work / f"pictures-{count}"
        if folder.exists():
            return folder
        from PIL import Image
        drawn = self.work / "drawn"
        run([self.program("sweep-worker"), "dataset", "synth", str(drawn), "--images", str(DRAWN)])
        sources = sorted(drawn.glob("*.jpg"), key=lambda path: int(path.name.split(".")[1]))
        fresh = folder.with_suffix(".part")
        shutil.rmtree(fresh, ignore_errors=True)
        first = {}
        for number in range(count):
            source = sources[number % len(sources)]
            kind = source.name.split(".")[0]
            target = fresh / kind / f"{kind}.{number}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            if source in first:
                os.link(first[source], target)
                continue
            Image.open(source).resize(PICTURE).save(target, quality=QUALITY)
            first[source] = target
        fresh.rename(folder)
        return folder

    def reference(self, mode: str, *arguments: object) -> dict:
        command = [sys.executable, str(REFERENCE), mode, *map(str, arguments)]
        return json.loads(run(command).output.splitlines()[-1])

    def sweep(self, pictures: pathlib.Path, cache: pathlib.Path, precision: str, **environment: str) -> float:
        """Wall time of the whole grid in one command, from its start to the written report."""
        output = self.work / "results"
        shutil.rmtree(output, ignore_errors=True)
        command = [self.program("sweep"), "run", str(GRID), "--dataset", str(pictures), "--output", str(output),
                   "--set", f"epochs={self.options.epochs}", "--set", f"precision={precision}"]
        seconds = run(command, XDG_CACHE_HOME=str(cache), **environment).seconds
        jobs = len((output / "results.csv").read_text().splitlines()) - 1
        assert jobs == JOBS, f"{jobs} jobs are in the report"
        return seconds

    def note(self, found: dict, name: object, value: float) -> None:
        """Keeps one run's figure, and tells it, since all of them take long."""
        found.setdefault(name, []).append(value)
        print(f"{name}: {value:.2f}", file=sys.stderr)

    def add(self, name: str, values: list[float], unit: str, baseline: list[float] | None = None) -> None:
        value = statistics.median(values)
        base = statistics.median(baseline) if baseline else None
        # Of times, less is better.
        ratio = None if base is None else (base / value if unit == "s" else value / base)
        row = {"name": name, "value": value, "unit": unit, "baseline": base, "ratio": ratio}
        with open(self.options.target / "bench.jsonl", "a") as lines:
            lines.write(json.dumps(row) + "\n")
        row["range"] = f"{text(min(values))} to {text(max(values))}"
        self.rows.append(row)
        print(f"{name}: {value:.2f} {unit}" + (f", {ratio:.1f} times" if ratio else ""), file=sys.stderr)

    def grid(self) -> None:
        pictures = self.pictures(self.options.images)
        found = {}
        for number in range(self.options.runs):
            arguments = ["--data", pictures, "--epochs", self.options.epochs, "--every", self.options.every]
            for workers in (0, 2):
                reached = self.reference("grid", *arguments, "--workers", workers)
                seconds = reached["seconds"] * JOBS / reached["jobs"]
                self.note(found, f"reference {workers}", seconds)
            for precision in ("fp32", "bf16"):
                cache = self.work / "cache"
                shutil.rmtree(cache, ignore_errors=True)
                for state in ("cold", "warm"):
                    seconds = self.sweep(pictures, cache, precision)
                    self.note(found, f"{precision} {state}", seconds)
            seconds = self.sweep(pictures, cache, "fp32", SWEEP_SLOTS="1", SWEEP_THREADS_PER_SLOT="2")
            self.note(found, "one slot", seconds)
        baseline = found["reference 0"]
        self.add("grid: PyTorch, as the report", baseline, "s")
        self.add("grid: PyTorch, two loader processes", found["reference 2"], "s")
        for precision in ("fp32", "bf16"):
            self.add(f"grid: sweep, {precision}, pictures packed first", found[f"{precision} cold"], "s", baseline)
            self.add(f"grid: sweep, {precision}, packed before", found[f"{precision} warm"], "s", baseline)
        self.add("grid: sweep, fp32, one slot with two threads", found["one slot"], "s", found["fp32 warm"])

    def loop(self) -> None:
        found = {}
        for _ in range(self.options.runs):
            for threads in (1, 2):
                reached = self.reference("loop", "--images", LOOP_IMAGES, "--epochs", 3, "--threads", threads)
                self.note(found, ("PyTorch", threads), reached["images_per_second"])
                for precision in ("fp32", "bf16"):
                    command = [self.program("examples/training_speed"), str(threads), "32", "relu", "1e-4", precision]
                    reached = json.loads(run(command).output.splitlines()[-1])
                    self.note(found, (precision, threads), reached["images_per_second"])
                    self.note(found, (precision, threads, "GFLOP/s"), reached["gflops"])
                    self.note(found, (precision, threads, "peak"), reached["peak_gflops"])
        for threads in (1, 2):
            name = f"training loop, {threads} thread{'s' * (threads > 1)}"
            baseline = found["PyTorch", threads]
            self.add(f"{name}: PyTorch", baseline, "images/s")
            for precision in ("fp32", "bf16"):
                self.add(f"{name}: sweep, {precision}", found[precision, threads], "images/s", baseline)
                self.add(f"{name}: sweep, {precision}, of the matrix products' peak",
                         found[precision, threads, "GFLOP/s"], "GFLOP/s", found[precision, threads, "peak"])

    def pack(self) -> None:
        pictures = self.pictures(2000)
        found = {}
        for _ in range(self.options.runs):
            loop = self.reference("pack", "--data", pictures, "--threads", 1)
            loader = self.reference("pack", "--data", pictures, "--workers", 2)
            self.note(found, "loop", loop["seconds"])
            self.note(found, "loader", loader["seconds"])
            finished = self.pack_once(pictures)
            self.note(found, "sweep", finished.seconds)
            self.note(found, "memory", finished.memory_mib)
        self.add("2,000 pictures: torchvision, a plain loop", found["loop"], "s")
        self.add("2,000 pictures: torchvision, two loader processes", found["loader"], "s")
        self.add("2,000 pictures: sweep-worker dataset pack", found["sweep"], "s", found["loader"])
        self.add("2,000 pictures: largest memory", found["memory"], "MiB")
        self.add("8,000 pictures: largest memory", [self.pack_once(self.pictures(8000)).memory_mib], "MiB")

    def pack_once(self, pictures: pathlib.Path) -> "Finished":
        cache = self.work / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        target = self.work / "packed.safetensors"
        # A file that is there already would be freed within the time.
        target.unlink(missing_ok=True)
        command = [self.program("sweep-worker"), "dataset", "pack", str(pictures), str(target)]
        return run(command, XDG_CACHE_HOME=str(cache))

    def print(self) -> None:
        print("| what | median | unit | smallest to largest | baseline | ratio |\n|---|---|---|---|---|---|")
        for row in self.rows:
            baseline = "" if row["baseline"] is None else text(row["baseline"])
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
            print(f"| {row['name']} | {text(row['value'])} | {row['unit']} | {row['range']} | {baseline} | {ratio} |")


class Finished:
    """A program that ended well: its output, wall time and largest resident memory."""

    def __init__(self, output: str, seconds: float, memory_mib: float) -> None:
        self.output, self.seconds, self.memory_mib = output, seconds, memory_mib


def run(command: list[str], **environment: str) -> Finished:
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | environment)
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            log.seek(0)
            sys.exit(f"error: {' '.join(command)} ended with {child.returncode}\n{log.read()}")
    return Finished(output, seconds, usage.ru_maxrss / 1024)


def text(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=pathlib.Path, default=REPOSITORY / "target", help="cargo's target folder")
    # The report had 25,000. With too few, what is measured is the start of a process.
    parser.add_argument("--images", type=int, default=2000, help="pictures of the whole grid")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of the whole grid")
    parser.add_argument("--every", type=int, default=5, choices=[1, 3, 5],
                        help="train only every n-th job with PyTorch, and multiply; both batch sizes and activations "
                        "are among them alike")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=["grid", "loop", "pack"], action="append")
    bench = Bench(parser.parse_args())
    for part in bench.options.only or ["loop", "pack", "grid"]:
        getattr(bench, part)()
    bench.print()


if __name__ == "__main__":
    main()
