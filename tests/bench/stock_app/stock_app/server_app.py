"""FedAvg with central evaluation after each round; when what ended is written down."""

import json
import time
from pathlib import Path

from flwr.app import ArrayRecord, Context, MetricRecord, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.serverapp.strategy.strategy_utils import aggregate_metricrecords

from stock_app.task import Net, load_data
from stock_app.task import test as test_fn

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train for the run's rounds."""
    config = context.run_config
    validation = load_data(str(config["validation"]))
    trained: list[float] = []
    evaluated: list[float] = []

    def train_metrics(records: list[RecordDict], weighted_by: str) -> MetricRecord:
        trained.append(time.time())
        return aggregate_metricrecords(records, weighted_by)

    def global_evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        net = Net()
        net.load_state_dict(arrays.to_torch_state_dict())
        loss, accuracy = test_fn(net, validation)
        evaluated.append(time.time())
        return MetricRecord({"loss": loss, "accuracy": accuracy})

    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=1.0, train_metrics_aggr_fn=train_metrics)
    result = strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(Net().state_dict()),
        num_rounds=int(config["num-server-rounds"]),
        evaluate_fn=global_evaluate,
    )
    figures = result.evaluate_metrics_serverapp
    accuracies = [figures[number]["accuracy"] for number in sorted(figures)]
    out = Path(str(config["out"]))
    unfinished = out.with_suffix(".part")
    unfinished.write_text(json.dumps({"trained": trained, "evaluated": evaluated, "accuracies": accuracies}))
    unfinished.replace(out)
