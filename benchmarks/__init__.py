"""Measurements that the documentation quotes; each prints its table when run."""
