"""Data set → trained model + report."""
