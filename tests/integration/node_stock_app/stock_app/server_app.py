"""Rounds as FedAvg has them, on Flower's own grid: ask every node the same, wait, gather."""

import json
import time
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from fedpriv_common.wire import RECORD, Operation, Reply, Request

RUN = "01J9ZZZZZZZZZZZZZZZZZZZZZZ"

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds and write down what every site answered."""
    config = context.run_config
    while len(nodes := list(grid.get_node_ids())) < int(config["sites"]):
        time.sleep(0.2)
    answers = []
    for number in range(1, int(config["rounds"]) + 1):
        request = Request(operation=Operation.RELEASE, run_id=RUN, round=number)
        content = RecordDict({RECORD: ConfigRecord({**request.to_fields()})})
        replies = grid.send_and_receive([Message(content, node, "train") for node in nodes], timeout=60)
        for message in replies:
            reply = Reply.from_fields(message.content[RECORD])
            answers.append({"round": number, "code": reply.code, "payload": reply.payload.hex()})
    Path(str(config["out"])).write_text(json.dumps(answers))
