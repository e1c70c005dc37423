"""What the fedpriv server, sites and metrics API agree on. No torch, no flwr."""

__version__ = "0.1.0"
