"""Bundles → latency and accuracy figures; and what train and export share: metrics, data sets, run folders."""
