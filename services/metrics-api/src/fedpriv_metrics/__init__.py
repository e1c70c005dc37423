"""Reads what the server wrote to S3 and serves it: JSON, server-sent events, Prometheus. It writes nothing."""

__version__ = "0.1.0"
