"""A Flower app that is started with `flwr run`."""
