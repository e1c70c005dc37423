"""What the metrics API costs: its answers beside MLflow's of the same figures, its streams, memory and requests."""
