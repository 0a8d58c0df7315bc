"""Bundle + camera → verdicts: the side of Leukoscope that runs on a device."""

__version__ = "0.1.0"
