"""Trained model → bundles."""
