"""Bundles → latency and accuracy figures."""
