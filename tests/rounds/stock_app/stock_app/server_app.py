"""Flower's own FedAvg over sites that train under differential privacy."""

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from fedpriv_common.contract import load_contract
from fedpriv_common.plan import RunSettings, make_plan
from fedpriv_common.recipes import Recipe
from fedpriv_common.wire import RECORD, Operation, Request

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Plan the run, train, let the sites close it, keep the model."""
    config = context.run_config
    sites, run_id = int(config["sites"]), str(config["run-id"])
    settings = RunSettings(
        recipe=Recipe.FEDAVG_MLP, epsilon=3.0, sites=sites, rounds=int(config["rounds"]), evaluations=0
    )
    plan = make_plan(settings, load_contract("breast-cancer-wisconsin"))
    initial = plan.model.initial_parameters(np.random.default_rng())
    strategy = FedAvg(
        fraction_evaluate=0.0,
        min_train_nodes=sites,
        min_available_nodes=sites,
        configrecord_key=RECORD,
    )
    try:
        result = strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(plan.model.unflatten(initial)),
            num_rounds=plan.rounds,
            train_config=ConfigRecord({"run_id": run_id, "plan": plan.model_dump_json()}),
        )
    finally:
        close(grid, run_id)
    final = np.concatenate([tensor.ravel() for tensor in result.arrays.to_numpy_ndarrays()])
    np.savez(str(config["out"]), initial=initial, final=final)


def close(grid: Grid, run_id: str) -> None:
    """Let the sites free what the run has not asked for, and refuse it from now on."""
    request = Request(operation=Operation.CLOSE, run_id=run_id)
    content = RecordDict({RECORD: ConfigRecord(request.to_fields())})
    grid.send_and_receive([Message(content, node, "train") for node in grid.get_node_ids()], timeout=60)
