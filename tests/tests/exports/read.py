"""Reads an export with the program that it is for, and prints what that program sees, as JSON. Numbers are texts of their bits."""

import json
import struct
import sys
import time

# How long a program may take to have read an export.
PATIENCE_SECONDS = 60


def bits(value):
    """A double as sixteen hexadecimal digits; None stays."""
    return None if value is None else struct.pack(">d", value).hex()


def plain(value):
    """A parameter's value; a double as its bits, so that 1 and 1.0 differ."""
    return {"bits": bits(value)} if isinstance(value, float) else value


def parquet(path):
    import duckdb

    tables = {}
    for name in ("jobs", "epochs"):
        relation = duckdb.read_parquet(f"{path}/{name}.parquet")
        rows = [dict(zip(relation.columns, map(plain_cell, row))) for row in relation.fetchall()]
        tables[name] = {"types": dict(zip(relation.columns, map(str, relation.types))), "rows": rows}
    return tables


def plain_cell(value):
    return round(value.timestamp() * 1000) if hasattr(value, "timestamp") else plain(value)


def csv(path):
    import duckdb

    relation = duckdb.read_csv(path, all_varchar=True)
    return {"columns": relation.columns, "rows": relation.fetchall()}


def tensorboard(path):
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer

    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(path)
    multiplexer.Reload()
    seen = seen_by_tensorboard(data_provider.MultiplexerDataProvider(multiplexer, path))
    # The loader that TensorBoard uses by default reads while it is asked.
    patience = time.monotonic() + PATIENCE_SECONDS
    provider = fast_loader(path)
    while (fast := seen_by_tensorboard(provider)) != seen:
        if time.monotonic() > patience:
            sys.exit(f"the loaders differ: {json.dumps(fast)}\n{json.dumps(seen)}")
        time.sleep(0.1)
    return seen


def fast_loader(path):
    from tensorboard.data import server_ingester
    from tensorboard.util import grpc_util

    ingester = server_ingester.SubprocessServerDataIngester(
        server_binary=server_ingester.get_server_binary(),
        logdir=path,
        reload_interval=0,
        channel_creds_type=grpc_util.ChannelCredsType.LOCAL,
    )
    ingester.start()
    return ingester.data_provider


def seen_by_tensorboard(provider):
    from google.protobuf import json_format
    from tensorboard import context
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

    request = context.RequestContext()
    read = provider.read_scalars(request, experiment_id="", plugin_name="scalars", downsample=10**6)
    scalars = {
        run: {tag: [[one.step, one.wall_time, bits(one.value)] for one in series] for tag, series in tags.items()}
        for run, tags in read.items()
    }
    hparams = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    asked = api_pb2.GetExperimentRequest()
    experiment = get_experiment.Handler(request, hparams, "", asked).run()
    every = [api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_RUNNING]
    columns = [api_pb2.ColParams(hparam=info.name, include_in_result=True) for info in experiment.hparam_infos]
    columns += [api_pb2.ColParams(metric=info.name, include_in_result=True) for info in experiment.metric_infos]
    asked = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=10**6, allowed_statuses=every, col_params=columns, include_metrics=True
    )
    groups = list_session_groups.Handler(request, hparams, "", asked).run()
    return {
        "scalars": scalars,
        "experiment": json_format.MessageToDict(experiment),
        "groups": sorted(json_format.MessageToDict(groups).get("sessionGroups", []), key=json.dumps),
    }


def optuna(path):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{path}")

    def date(moment):
        return None if moment is None else round(moment.timestamp() * 1000)

    trials = [
        {
            "number": trial.number,
            "state": trial.state.name,
            "values": None if trial.values is None else [bits(value) for value in trial.values],
            "params": {name: plain(value) for name, value in trial.params.items()},
            "distributions": {name: repr(one) for name, one in trial.distributions.items()},
            "intermediate": {str(step): bits(value) for step, value in trial.intermediate_values.items()},
            "start": date(trial.datetime_start),
            "complete": date(trial.datetime_complete),
            "attributes": trial.user_attrs,
        }
        for trial in study.trials
    ]
    importances = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    return {
        "name": study.study_name,
        "direction": study.direction.name,
        "metrics": study.metric_names,
        "best": study.best_trial.number,
        "importances": importances,
        "trials": trials,
    }


def goes_on(path):
    """Has Optuna try another point, as who continues a study does."""
    import optuna

    study = optuna.load_study(study_name=None, storage=f"sqlite:///{path}")
    study.optimize(lambda trial: trial.suggest_float("rate", 1e-5, 0.30000000000000004, log=True), n_trials=1)
    return study.trials[-1].number


def proposes(path):
    """The trial that Optuna trains next: one that waits in the study, or one of its own."""
    import optuna

    study = optuna.load_study(study_name=None, storage=f"sqlite:///{path}")
    trained = []
    study.optimize(
        lambda trial: trained.append(trial.number) or trial.suggest_float("rate", 1e-5, 0.30000000000000004, log=True), n_trials=1
    )
    trial = study.trials[trained[0]]
    return {"state": trial.state.name, "job": trial.user_attrs.get("job"), "numbers": [one.number for one in study.trials]}


if __name__ == "__main__":
    json.dump(globals()[sys.argv[1]](*sys.argv[2:]), sys.stdout)
