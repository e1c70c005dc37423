"""The fedpriv server: SuperLink behind a gate, round loop, strategies, checkpoints and the metrics writer."""
