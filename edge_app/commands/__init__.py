"""The subcommands of the device side, one module each."""
