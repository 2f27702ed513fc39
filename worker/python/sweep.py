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

report() returns True where the script is to end, at the end of its epochs or before, as early stopping or a user wants it. A script
that was asked to end and goes on all the same is ended by the next report(), or by the checkpoint() that follows the report, in its
main thread; elsewhere only that thread ends.

Outside of a sweep, parameters() returns the defaults, report() and checkpoint() do nothing, and load() returns None, so the
script runs as before. In a program of many processes (torchrun, multiprocessing), report and checkpoint from one of them.
"""

import atexit
import functools
import json
import math
import mmap
import os
import re
import shutil
import signal
import socket
import threading

__all__ = ["Parameters", "SweepError", "active", "checkpoint", "load", "output", "parameters", "report"]

_NUMBERED = re.compile(r"[0-9]{8}")
# The text makes the exit status 1. With 0, the last checkpoint would be taken for one of an epoch that was reported.
_ENDED = "ended, as it went on after it was asked to end"
_lock = threading.RLock()
_connection = None  # The process that opened it, and its file: a fork must not share it.
_asked_to_stop = False
_listens = False
_was_told = False  # A report has returned True, as the script is to end before its own end.
_has_reported = False
_saves_first = False  # A checkpoint came before the first report, and so probably before each one.
_keeps_checkpoints = False
_counted = 0  # Reports without an epoch.
_places = {}  # The sweep's parameters, and where their marks are.
_marks = None  # A byte for each that was read, shared with processes that are forked.


class SweepError(RuntimeError):
    """A report that cannot be used, with what would be right."""


class Parameters(dict):
    """A dictionary whose items are attributes, too: p["lr"], p.lr, p.model.layers.

    It notes which of the sweep's parameters are read, so that a misspelt name is not taken for one without effect.
    """

    __slots__ = ("_within",)

    def __new__(cls, *_args, **_items):
        made = super().__new__(cls)
        object.__setattr__(made, "_within", None)  # Not tracked.
        return made

    def __reduce__(self):
        self._note()
        return Parameters, (dict.copy(self),)

    def _note(self, *names):
        """Notes that this parameter was read; without a name, all that are in here."""
        if self._within is None:
            return
        if names:
            read = [self._within + str(names[0])]
        else:
            read = [name for name in _places if name.startswith(self._within)]
        for name in read:
            if name in _places:
                _marks[_places[name]] = 1

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            known = ", ".join(map(str, dict.keys(self))) or "none"
            raise AttributeError("no parameter is named %r; there are: %s" % (name, known)) from None

    def __setattr__(self, name, value):
        self[name] = value


def _noting(name, has_key):
    """The method of dict, which reads one item or all of them."""
    plain = getattr(dict, name)

    @functools.wraps(plain)
    def method(self, *args):
        self._note(*args[:has_key])
        return plain(self, *args)

    return method


for _name in ("__contains__", "__getitem__", "get", "pop", "setdefault"):
    setattr(Parameters, _name, _noting(_name, 1))
# Of dict's operators, Python 3.8 lacks those that join two.
for _name in ("__iter__", "__or__", "__reversed__", "__ror__", "copy", "items", "keys", "popitem", "values"):
    if hasattr(dict, _name):
        setattr(Parameters, _name, _noting(_name, 0))


def active():
    """Whether a sweep has started this program."""
    return "SWEEP_REPORT" in os.environ


def parameters(*args, **defaults):
    """The sweep's parameters over these defaults, given by name or as one dictionary."""
    found = dict(*args, **defaults)
    path = os.environ.get("SWEEP_PARAMETERS")
    if path:
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
        _track(given)
        return _attributes(_over(found, given), "")
    return _attributes(found)


def report(epoch=None, **metrics):
    """Reports the metrics of an epoch; True when the program is to stop now.

    Epochs grow: 1, 2, 3, or steps such as 100, 200. Without a number, reports are counted; a program that keeps checkpoints
    has to give numbers. Metrics whose names are no Python
    names go in as **{"val/loss": 0.5}.
    """
    global _counted, _has_reported, _was_told
    if isinstance(epoch, dict):
        raise SweepError("report() takes an epoch and metrics by name: sweep.report(epoch, loss=0.5), or of a dictionary sweep.report(epoch, **metrics)")
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
    # What is reported after that may be in a checkpoint.
    goes_on, _has_reported = _was_told, True
    stop = _say(message)
    if goes_on:
        raise SystemExit(_ENDED)
    _was_told = stop and _asked_to_stop
    return stop


def checkpoint(writer):
    """Keeps what it takes to go on: writer(folder) writes files into an empty folder. Either all of it is kept, or nothing.

    Returns the folder's path, or None outside of a sweep.
    """
    global _keeps_checkpoints, _saves_first
    _keeps_checkpoints = True
    _saves_first |= not _has_reported
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
        # The state of that report is kept. Where checkpoints come first, this one is of the next epoch, which is still to be reported.
        if _was_told and not _saves_first:
            raise SystemExit(_ENDED)
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


def _attributes(value, within=None):
    """Dictionaries as Parameters; `within` is what the names of their items begin with, if those are tracked."""
    if not isinstance(value, dict):
        return value
    inner = lambda name: None if within is None else "%s%s." % (within, name)
    made = Parameters((name, _attributes(item, inner(name))) for name, item in value.items())
    object.__setattr__(made, "_within", within)
    return made


def _track(given):
    """From the first call on, what is read of the sweep's parameters is noted, and said when the program ends."""
    global _marks
    with _lock:
        if _marks is None and active():
            _places.update((name, place) for place, name in enumerate(_names(given)))
            _marks = mmap.mmap(-1, max(1, len(_places)))
            atexit.register(_say_read)


def _names(values, within=""):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _names(value, "%s%s." % (within, name))
        else:
            yield within + name


def _say_read():
    read = [name for name, place in _places.items() if _marks[place]]
    unread = [name for name, place in _places.items() if not _marks[place]]
    try:
        _say({"parameters": {"read": read, "unread": unread}})
    except Exception:
        pass  # How the program ends does not depend on it.


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
    global _asked_to_stop, _connection
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
    _asked_to_stop |= bool(answer.get("ending"))
    return bool(answer.get("stop")) or _asked_to_stop
