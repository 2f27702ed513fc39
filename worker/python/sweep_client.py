"""Sweeps from a notebook: one file, the standard library alone, Python 3.9 or newer; tables are pandas' where pandas is there.

    from sweep_client import Client

    client = Client("http://127.0.0.1:8080")      # where `sweep serve --http` or `sweep run` serves the page
    sweep = client.submit({"name": "rates", "dataset": {"path": "data/train"}, "parameters": {"learning_rate": {"values": [0.1, 0.01]}}})
    sweep.wait()
    sweep.best()                                  # the best configuration's job: parameters, metrics, attempts, epochs
    sweep.frame()                                 # all jobs: a DataFrame, or without pandas a list of dictionaries (Rows)

It speaks the JSON API of the page. A program's files are sent by `sweep submit` alone; what that has submitted is seen here.
"""

import array
import html
import http.client
import json
import math
import os
import pathlib
import re
import socket
import ssl
import struct
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
import warnings

__all__ = ["Client", "Rows", "Sweep", "SweepError", "Unreachable"]

_ROWS = 1000  # Most that a page has.
_CURVES_MAX = 64  # Most jobs whose curves come at once.
_FINAL = {"finished", "stopped", "cancelled"}
_AWAY_SECONDS = 120  # How long a coordinator may be away while a sweep is waited for: a restart, or its move.
_TRIES = 4  # Of a request that may be repeated.
_TEXTS = {"state", "worker", "weights", "reason"}  # Keys of a job that are no numbers.
_JOB_KEYS = _TEXTS | {"job", "attempts", "epochs_done", "train_seconds", "pack_size", "best_epoch"}
_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # JSON has none for these.
_KINDS = {"u8": "B", "u16": "H", "u32": "I", "f32": "f", "f64": "d"}
# Keys of a sweep file whose values are taken as they are, and how others of them begin.
_LITERAL = {
    "name",
    "description",
    "program",
    "dataset.path",
    "dataset.val_path",
    "execution.epochs_parameter",
    "execution.snapshot",
    "metrics.csv",
    "metrics.pattern",
}
_LITERAL_BEGIN = "execution.env."
_TOKEN_HERE = "give `Client(url, token_file=FILE)` or `token=TEXT`, or set SWEEP_TOKEN_FILE or SWEEP_TOKEN"
# What the coordinator says of its commands and its addresses, and how the same is done here.
_HERE = [
    (re.compile(said), done)
    for said, done in (
        (r"`sweep ls`", "`client.sweeps()`"),
        (r"`sweep workers`", "`client.workers()`"),
        (r"`sweep show (\d+)`", r"`client.sweep(\1)`"),
        (r"`sweep (pause|resume|stop|cancel|retry) (\d+)`", r"`client.sweep(\2).\1()`"),
        (r"`sweep (stop|cancel|retry) (\d+)/(\d+)`", r"`client.sweep(\2).\1(job=\3)`"),
        (r"`sweep retry`", "`retry()`"),
        (r"`sweep submit --extend (\d+)`", r"`client.submit(file, extend=\1)`"),
        (r"`sweep submit --extend`", "`client.submit(file, extend=SWEEP)`"),
        (r"(`sweep (?:set|search|submit|serve) [^`]+`)", r"\1 in a terminal"),
        (r"try the whole sweep again, its cancelled jobs too \(JSON API: POST \S+/sweeps/(\d+)/retry with the body [^)]*\)",
         r"`client.sweep(\1).retry()` tries the whole sweep again, its cancelled jobs too"),
        (r"^--set ", "in `set`: "),
        (r"--dataset FOLDER", "`dataset=FOLDER`"),
        (r"\(and --dataset\)", "(and `dataset=`)"),
        (r"send `Authorization: Bearer TOKEN`, or log in at /login", _TOKEN_HERE),
        (r"send another one, as `Authorization: Bearer TOKEN`", _TOKEN_HERE),
        (r"log in with another one", _TOKEN_HERE),
    )
]


class SweepError(Exception):
    """The coordinator's answer to what it does not do: `code` for programs, the message for people."""

    def __init__(self, message, code="", status=0):
        super().__init__(message)
        self.code = code
        self.status = status


class Unreachable(SweepError):
    """No one answers there."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token is for one server: it follows no one elsewhere."""

    def redirect_request(self, *_):
        return None


class Client:
    """A coordinator's page, by its address; the address that `sweep run` prints holds its token already.

    Without a token given, SWEEP_TOKEN holds it, or the file that `token_file` or SWEEP_TOKEN_FILE names; `ca_file` or SWEEP_TLS_CA names
    the certificates to trust for https://.
    """

    def __init__(self, url, token=None, *, token_file=None, ca_file=None, timeout=60):
        split = urllib.parse.urlsplit(url)
        if split.scheme not in ("http", "https") or not split.hostname:
            raise ValueError("use http://HOST:PORT or https://HOST:PORT, the address of the coordinator's page in a browser")
        path = split.path.rsplit("/login", 1)[0].rstrip("/")
        self.url = "%s://%s%s" % (split.scheme, split.netloc, path)
        given = urllib.parse.parse_qs(split.query).get("token", [None])[0]
        self._token = token or given or _token(token_file)
        self._timeout = timeout
        handlers = [_NoRedirect]
        if split.hostname in ("localhost", "127.0.0.1", "::1"):
            handlers.append(urllib.request.ProxyHandler({}))
        ca_file = ca_file or os.environ.get("SWEEP_TLS_CA")
        if split.scheme == "https":
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)))
        self._opener = urllib.request.build_opener(*handlers)

    def sweeps(self):
        """All sweeps, newest first."""
        return [Sweep(self, data) for data in self._pages("sweeps")]

    def sweep(self, number):
        """One sweep by its number."""
        return Sweep(self, self._get("sweeps/%d" % number))

    def submit(self, file, *, set=None, dataset=None, extend=None):  # noqa: A002 (as --set)
        """Submits a sweep file: its text, a dictionary, or a path (pathlib.Path). `set` changes keys of it, `dataset` names the pictures,
        and `extend` is the number of a sweep that gets the jobs which it lacks. What the file says without effect is a warning.
        """
        name = "notebook"
        if isinstance(file, os.PathLike):
            name, text = os.fspath(file), pathlib.Path(file).read_text(encoding="utf-8")
        elif isinstance(file, str):
            if "\n" not in file and file.endswith((".yaml", ".yml")):
                raise ValueError("this is the name of a file: give pathlib.Path(%r)" % file)
            text = file
        else:
            # JSON is YAML, too.
            text = json.dumps(file, allow_nan=False, ensure_ascii=False, indent=1)
        changes = ["%s=%s" % (key, _override(key, value)) for key, value in (set or {}).items()]
        asked = {"file": text, "file_name": name, "overrides": changes, "request_id": str(uuid.uuid4())}
        if dataset is not None:
            asked["dataset_path"] = os.fspath(dataset)
        if extend is not None:
            asked["extend"] = int(extend)
        # With its id, the same request makes one sweep, however often it arrives.
        answer = self._post("sweeps", asked, tries=1 if extend is not None else _TRIES)
        for note in answer["notes"]:
            warnings.warn(_here(note), stacklevel=2)
        return Sweep(self, answer["sweep"])

    def workers(self):
        """All workers, as dictionaries."""
        return list(self._pages("workers"))

    def __repr__(self):
        return "Client(%r)" % self.url

    def _pages(self, path, **query):
        """The items of a list, page by page."""
        query["rows"] = _ROWS
        while True:
            page = self._get(path, **query)
            yield from page["items"]
            if page["next"] is None:
                return
            query["after"] = page["next"]

    def _get(self, path, **query):
        return self._read(self._bytes(path, **query))

    def _bytes(self, path, **query):
        query = "?" + urllib.parse.urlencode(query) if query else ""
        return self._ask("GET", path + query, None, _TRIES)

    def _post(self, path, content=None, tries=1):
        return self._read(self._ask("POST", path, content, tries))

    def _read(self, content):
        """An answer as JSON: what stands before a coordinator may answer something else, such as a page on which to log in."""
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self._unreadable(content)
        return answer

    def _unreadable(self, content):
        """The error of an answer that is none of a coordinator."""
        begin = _escaped_line(content[:80].decode("utf-8", "replace"))
        return SweepError("%s answered what no coordinator's page does (%s…): is there a proxy before it?" % (self.url, begin), status=200)

    def _ask(self, method, path, content, tries):
        pause = 0.2
        while True:
            try:
                return self._ask_once(method, path, content)
            except Unreachable:
                tries -= 1
                if tries <= 0:
                    raise
            time.sleep(pause)
            pause *= 2

    def _ask_once(self, method, path, content):
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = "Bearer " + self._token
        body = None
        if content is not None:
            body = json.dumps(content).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request("%s/api/v1/%s" % (self.url, path), body, headers, method=method)
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error) from None
        # An answer that was cut off, or is none, is a connection that broke.
        except (urllib.error.URLError, http.client.HTTPException, socket.timeout, OSError) as error:
            raise Unreachable(_unreachable(self.url, getattr(error, "reason", error))) from error

    def _refused(self, error):
        try:
            return _refusal(error)
        except (http.client.HTTPException, OSError) as broken:
            return Unreachable(_unreachable(self.url, broken))


class Sweep:
    """A sweep as it was when it was last asked for; its values are attributes, such as sweep.state, sweep.done, sweep.best_parameters."""

    def __init__(self, client, data):
        self._client = client
        self.data = data

    def __getattr__(self, name):
        # Not `data` itself, which a copy that is being made does not have yet.
        if name != "data" and not name.startswith("_") and name in self.data:
            return self.data[name]
        raise AttributeError("a sweep has no %r; it has %s" % (name, ", ".join(self.__dict__.get("data", ()))))

    def refresh(self):
        """Asks for it again."""
        self.data = self._client._get(self._path())
        return self

    @property
    def has_ended(self):
        """Whether no job of it runs or will."""
        return self.state in _FINAL

    def wait(self, timeout=None, interval=1.0):
        """Waits until it has ended, for at most `timeout` seconds (TimeoutError), and returns it as it is then. A coordinator may be away
        for two minutes meanwhile.
        """
        until = None if timeout is None else time.monotonic() + timeout
        last_contact = time.monotonic()
        while True:
            try:
                self.refresh()
                last_contact = time.monotonic()
            except Unreachable:
                if time.monotonic() - last_contact > _AWAY_SECONDS:
                    raise
            if self.has_ended:
                return self
            if until is not None and time.monotonic() >= until:
                raise TimeoutError("sweep %d is %s after %g s" % (self.id, self.state, timeout))
            time.sleep(interval if until is None else max(0.0, min(interval, until - time.monotonic())))

    def jobs(self, state=None):
        """Its jobs as dictionaries, in their order; `state` names some states, as "done" or ["done", "failed"]."""
        query = {}
        if state:
            query["state"] = state if isinstance(state, str) else ",".join(state)
        return [_numbers(job) for job in self._client._pages(self._path("jobs"), **query)]

    def job(self, number):
        """One job with its attempts and epochs."""
        job = _numbers(self._client._get(self._path("jobs/%d" % number)))
        job["epochs"] = [_numbers(epoch) for epoch in job.get("epochs") or []]
        return job

    def logs(self, job):
        """The last lines of a job's latest attempt that has some."""
        attempts = self._client._get(self._path("jobs/%d/logs" % job))["items"]
        return next(("\n".join(attempt["lines"]) for attempt in reversed(attempts) if attempt["lines"]), "")

    def best(self):
        """The best configuration so far, as its first job with its attempts and epochs; None while there is none.

        With `repeats` in the sweep file the best is the configuration with the best mean of its trainings: its "best_of_sweep" is that mean,
        and "best_trainings" says of how many.
        """
        self.refresh()
        if self.best_job is None:
            return None
        job = self.job(self.best_job)
        job["best_of_sweep"] = _number(self.data["best"])
        job["best_trainings"] = self.data.get("best_trainings")
        return job

    def frame(self, exact=True):
        """All jobs as a table: a pandas.DataFrame where pandas is installed, else a Rows, which is a list of dictionaries.

        With `exact=False` it comes in one small request, for as many as 200,000 jobs: those that had an attempt, with the parameters that
        vary, and the objective and times to seven digits.
        """
        if exact:
            rows = self.jobs()
            for row in rows:
                parameters = row.pop("parameters")
                for name, value in parameters.items():
                    row["parameter:" + name if name in _JOB_KEYS else name] = value
            return _table(rows)
        columns = self._columns()
        names = list(columns)
        return _table([dict(zip(names, row)) for row in zip(*columns.values())])

    def curves(self, jobs=None, metric=None):
        """Learning curves as a table of job, epoch and value: of the jobs given, or of the best ten that are done, and of others where
        those are fewer; `metric` is the objective or another."""
        metric = metric or self.data["metric"]["name"]
        jobs = list(jobs) if jobs is not None else self._best_jobs(10)
        rows = []
        for start in range(0, len(jobs), _CURVES_MAX):
            some = [int(job) for job in jobs[start:start + _CURVES_MAX]]
            asked = ",".join(map(str, some))
            curves = self._client._get(self._path("curves"), jobs=asked, metric=metric)["items"]
            for curve in sorted(curves, key=lambda curve: some.index(curve["job"])):
                values = (_number(value) for value in curve["values"])
                rows += [{"job": curve["job"], "epoch": epoch, "value": value} for epoch, value in zip(curve["epochs"], values)]
        return _table(rows)

    def pause(self):
        """Starts no more jobs until it is resumed; those that run go on."""
        return self._act("pause")

    def resume(self):
        """Starts jobs again."""
        return self._act("resume")

    def stop(self, job=None):
        """Starts no more jobs, or no more attempts of one; what runs comes to its end."""
        return self._act("stop", job)

    def cancel(self, job=None):
        """Ends it with all that runs, or one job."""
        return self._act("cancel", job)

    def retry(self, job=None, cancelled_too=True):
        """Tries its failed and cancelled jobs again, or one job; returns how many. `cancelled_too=False`: only those that failed."""
        content = None if job is not None else {"cancelled_too": cancelled_too}
        answer = self._client._post(self._action("retry", job), content)
        self.data = answer["sweep"]
        return answer["retried"]

    def __repr__(self):
        return "Sweep(%d, %r, %s, %d of %d jobs done)" % (self.id, self.name, self.state, self.done, self.jobs_count)

    def _repr_html_(self):
        rows = [("state", self.state), ("jobs", "%d of %d done, %d running, %d failed" % (
            self.done, self.jobs_count, self.running, self.failed))]
        if self.best_job is not None:
            trainings = self.data.get("best_trainings") or 1
            mean = "mean of %d, " % trainings if trainings > 1 else ""
            rows.append(("best " + self.data["metric"]["name"], "%s (%sjob %d)" % (self.data["best"], mean, self.best_job)))
            rows += list((self.best_parameters or {}).items())
        if self.data.get("waiting"):
            rows.append(("waits", _here(self.data["waiting"])))
        cells = "".join("<tr><th>%s</th><td>%s</td></tr>" % (_escaped(name), _escaped(value)) for name, value in rows)
        return "<table><caption>sweep %d: %s</caption>%s</table>" % (self.id, _escaped(self.name), cells)

    @property
    def jobs_count(self):
        """How many jobs it has."""
        return self.data["jobs"]

    def _path(self, more=""):
        return "sweeps/%d%s" % (self.data["id"], "/" + more if more else "")

    def _action(self, name, job):
        return self._path(name if job is None else "jobs/%d/%s" % (job, name))

    def _act(self, name, job=None):
        self.data = self._client._post(self._action(name, job))
        return self

    def _best_jobs(self, count):
        """The numbers of the jobs with the best values: those that are done, and where they are too few, others with a value."""
        columns = self._columns()
        metric = self.data["metric"]
        sign = -1 if metric["maximize"] else 1
        values = zip(columns[metric["name"]], columns["job"], columns["state"])
        # Of equal jobs the first is the better one, as everywhere.
        known = sorted(
            (state != "done", sign * value, job) for value, job, state in values if value is not None and math.isfinite(value)
        )
        return [job for _, _, job in known[:count]]

    def _columns(self):
        """The jobs that had an attempt, by column."""
        content = self._client._bytes(self._path("columns"))
        try:
            length = struct.unpack_from("<I", content)[0]
            head, place = json.loads(content[4:4 + length]), 4 + length
        except (struct.error, ValueError):
            raise self._client._unreadable(content) from None
        if head["left_out"]:
            warnings.warn("%d jobs are left out: frame() has all" % head["left_out"], stacklevel=3)
        columns = {}
        for column in head["columns"]:
            # Columns begin at multiples of four bytes, those of eight bytes a number at multiples of eight.
            place += -place % (8 if column["kind"] == "f64" else 4)
            numbers = array.array(_KINDS[column["kind"]], content[place:place + column["bytes"]])
            if sys.byteorder == "big":
                numbers.byteswap()
            place += column["bytes"]
            name = column["name"]
            if name == "objective":
                name = self.data["metric"]["name"]
            short = name[len("parameter:"):] if name.startswith("parameter:") else name
            columns[name if short in columns else short] = _values(numbers, column.get("values"))
        return columns


def _token(path):
    """The token that the environment names, or the file."""
    path = path or (None if os.environ.get("SWEEP_TOKEN") else os.environ.get("SWEEP_TOKEN_FILE"))
    token = pathlib.Path(path).read_text(encoding="utf-8-sig").strip() if path else os.environ.get("SWEEP_TOKEN")
    if token is not None and (not token.isascii() or not token.isprintable() or " " in token or not token):
        raise ValueError("a token is one line of printable ASCII characters without spaces")
    return token


def _refusal(error):
    """What an answer with an error says."""
    content = error.read(65536)
    try:
        told = json.loads(content)["error"]
        message, code = told["message"], told["code"]
    except (ValueError, KeyError, TypeError):
        message, code = "%s answered %d: it is no coordinator's page" % (error.url, error.code), ""
        # The coordinator's other port says which one is meant.
        if error.code == 421 and error.headers.get_content_type() == "text/plain":
            message = content.decode("utf-8", "replace").strip()
    # A proxy before a coordinator that is away, and one that does not lead yet.
    kind = Unreachable if error.code in (502, 503, 504) else SweepError
    return kind(_here(message), code, error.code)


def _here(message):
    """A message of the coordinator, with what a notebook does in place of a command."""
    for said, done in _HERE:
        message = said.sub(done, message)
    return message


def _unreachable(url, reason):
    """Why no one answers, and what to do."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return "the certificate of %s is not trusted (%s); name those to trust, `Client(url, ca_file=FILE)` or SWEEP_TLS_CA" % (url, reason)
    return (
        "no coordinator answers at %s (%s); is it the address of the page in a browser? The page of a `sweep run` ends with it: in a terminal, "
        "`sweep serve --store sqlite:FOLDER/sweep.db --http HOST:PORT` serves that of its folder" % (url, reason)
    )


def _override(key, value):
    """A value as `--set` reads it."""
    if isinstance(value, str) and (key in _LITERAL or key.startswith(_LITERAL_BEGIN)):
        return value
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _number(value):
    return _NUMBERS.get(value, value) if isinstance(value, str) else value


def _numbers(row):
    """A job or an epoch whose metrics are numbers."""
    parameters = row.get("parameters", {})
    return {key: value if key in _TEXTS or key in parameters else _number(value) for key, value in row.items()}


def _values(numbers, values):
    """A column as Python's values; None where there is none."""
    if values is not None:
        return [values[index] if index < len(values) else None for index in numbers]
    if numbers.typecode in "fd":
        return [None if math.isnan(number) else number for number in numbers]
    return numbers.tolist()


class Rows(list):
    """A table where pandas is not installed: a list of dictionaries, which says so to who takes it for a DataFrame."""

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(
            "without pandas a table is a list of dictionaries, which has no %r; `pip install pandas` makes it a DataFrame" % name
        )


def _table(rows):
    try:
        import pandas
    except ImportError:
        return Rows(rows)
    return pandas.DataFrame(rows)


def _escaped(value):
    """Text that is no markup, and in which nothing invisible turns its direction."""
    return html.escape(_escaped_line(value if isinstance(value, str) else json.dumps(value)))


def _escaped_line(text):
    """Text in which nothing invisible breaks the line or turns its direction."""
    return "".join(sign if sign.isprintable() else "\\u{%x}" % ord(sign) for sign in text)
