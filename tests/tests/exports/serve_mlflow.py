"""A real MLflow tracking server with a database in a folder, until standard input ends. Prints where it serves."""

import os
import pathlib
import sys
import threading

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["_MLFLOW_SERVER_FILE_STORE"] = f"sqlite:///{folder}/mlflow.db"
os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = str(folder / "artifacts")

from mlflow.server import app, handlers  # noqa: E402
from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: E402


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_arguments):
        pass


threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
# Makes its tables before it is asked for anything.
handlers._get_tracking_store()
server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
print(f"serves at http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
