"""The subcommands of `leukoscope bench`."""
