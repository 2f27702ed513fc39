"""Sweep your own script: one file, the standard library alone, Python 3.8 or newer.

    import sweep

    p = sweep.parameters(lr=0.1, epochs=10)       # the sweep's values over these defaults
    start = 1
    path = sweep.load()                           # the last checkpoint of this job, or None
    if path:
        ...                                       # read what you wrote there, also the epoch
    for epoch in range(start, p.epochs + 1):
        loss = train_one_epoch(p.lr)
        sweep.checkpoint(lambda folder: ...)      # write files into the folder
        if sweep.report(epoch, loss=loss):        # True: stop now
            break

A script that keeps checkpoints must give its reports their epochs, or a job that goes on could not tell which ones it has.

Outside of a sweep, parameters() returns the defaults, report() and checkpoint() do nothing, and load() returns None, so the
script runs as before. In a program of many processes (torchrun, multiprocessing), report and checkpoint from one of them.
"""

import json
import math
import os
import re
import shutil
import signal
import socket
import threading

__all__ = ["Parameters", "SweepError", "active", "checkpoint", "load", "output", "parameters", "report"]

_NUMBERED = re.compile(r"[0-9]{8}")
_lock = threading.RLock()
_connection = None  # The process that opened it, and its file: a fork must not share it.
_asked_to_stop = False
_listens = False
_keeps_checkpoints = False
_counted = 0  # Reports without an epoch.


class SweepError(RuntimeError):
    """A report that cannot be used, with what would be right."""


class Parameters(dict):
    """A dictionary whose items are attributes, too: p["lr"], p.lr, p.model.layers."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            known = ", ".join(map(str, self)) or "none"
            raise AttributeError("no parameter is named %r; there are: %s" % (name, known)) from None

    def __setattr__(self, name, value):
        self[name] = value


def active():
    """Whether a sweep has started this program."""
    return "SWEEP_REPORT" in os.environ


def parameters(*args, **defaults):
    """The sweep's parameters over these defaults, given by name or as one dictionary."""
    found = dict(*args, **defaults)
    path = os.environ.get("SWEEP_PARAMETERS")
    if path:
        with open(path, encoding="utf-8") as file:
            found = _over(found, json.load(file))
    return _attributes(found)


def report(epoch=None, **metrics):
    """Reports the metrics of an epoch; True when the program is to stop now.

    Epochs grow: 1, 2, 3, or steps such as 100, 200. Without a number, reports are counted; a program that keeps checkpoints
    has to give numbers. Metrics whose names are no Python
    names go in as **{"val/loss": 0.5}.
    """
    global _counted
    if not active():
        return False
    _counted += epoch is None
    if _counted > 1 and _keeps_checkpoints:
        raise SweepError("this program keeps checkpoints, so its reports need their epochs: sweep.report(epoch, ...)")
    _listen()
    values = {str(name): _number(name, value) for name, value in metrics.items()}
    message = {"metrics": values}
    if epoch is not None:
        message["epoch"] = float(epoch)
    return _say(message)


def checkpoint(writer):
    """Keeps what it takes to go on: writer(folder) writes files into an empty folder. Either all of it is kept, or nothing.

    Returns the folder's path, or None outside of a sweep.
    """
    global _keeps_checkpoints
    _keeps_checkpoints = True
    place = os.environ.get("SWEEP_CHECKPOINT_DIR")
    if not place:
        return None
    new = os.path.join(place, ".new-%d-%d" % (os.getpid(), threading.get_ident()))
    shutil.rmtree(new, ignore_errors=True)
    os.mkdir(new)
    try:
        writer(new)
        with _lock:
            number = 1 + max(_numbers(place), default=0)
            path = os.path.join(place, "%08d" % number)
            os.rename(new, path)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    if active():
        _say({"checkpoint": os.path.basename(path)})
    return path


def load():
    """The folder of the last checkpoint of this job, also one of an earlier attempt on another machine; None without one."""
    global _keeps_checkpoints
    _keeps_checkpoints = True
    place = os.environ.get("SWEEP_CHECKPOINT_DIR")
    numbers = _numbers(place) if place else []
    return os.path.join(place, "%08d" % max(numbers)) if numbers else None


def output():
    """The folder for what comes out of the program; None outside of a sweep."""
    return os.environ.get("SWEEP_OUTPUT_DIR")


def _numbers(place):
    return [int(name) for name in os.listdir(place) if _NUMBERED.fullmatch(name)]


def _over(defaults, values):
    """Values over defaults, also within nested ones."""
    merged = dict(defaults)
    for name, value in values.items():
        inner = merged.get(name)
        merged[name] = _over(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _attributes(value):
    if isinstance(value, dict):
        return Parameters((name, _attributes(inner)) for name, inner in value.items())
    return value


def _number(name, value):
    """A number as JSON has it; those that it lacks as texts. Takes all that float() does: NumPy's and PyTorch's scalars."""
    try:
        value = float(value)
    except (TypeError, ValueError) as error:
        raise SweepError("the metric %r is no number: %r" % (name, value)) from error
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _listen():
    """From the first report on, SIGTERM asks to stop at the next report, instead of ending the program at once."""
    global _listens
    if _listens or threading.current_thread() is not threading.main_thread():
        return
    _listens = True
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_signal)


def _on_signal(_number, _frame):
    global _asked_to_stop
    _asked_to_stop = True


def _say(message):
    """Sends a line and waits for its answer: whether to stop."""
    global _connection
    with _lock:
        try:
            if _connection is None or _connection[0] != os.getpid():
                connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connected.connect(os.environ["SWEEP_REPORT"])
                _connection = (os.getpid(), connected.makefile("rwb"))
                connected.close()  # The file keeps it open.
            file = _connection[1]
            file.write(json.dumps(message, allow_nan=False).encode() + b"\n")
            file.flush()
            line = file.readline()
        except OSError as error:
            _connection = None
            raise SweepError("the sweep does not take reports any more: %s" % error) from error
        except BaseException:
            _connection = None  # An answer that was not read would be taken for the next one's.
            raise
        if not line:
            _connection = None
            raise SweepError("the sweep does not take reports any more")
    answer = json.loads(line.decode())
    if "error" in answer:
        raise SweepError(answer["error"])
    return bool(answer.get("stop")) or _asked_to_stop
