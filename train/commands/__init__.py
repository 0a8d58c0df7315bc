"""The subcommands of the training side."""
