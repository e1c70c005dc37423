"""Provisioning: keys, certificates, KMS key and bucket, made once and repaired by every later call."""
