"""`make demo`: three sites train under differential privacy on one machine, as real processes."""
