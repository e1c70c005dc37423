"""What a server would have the sites run. Whoever imports it leaves a trace."""

import os
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

Path(os.environ.get("FEDPRIV_TEST_EXECUTED", "executed")).write_text("code of the server was run")

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Send back what came."""
    return Message(message.content, reply_to=message)
