"""Ctrl-C in the middle of a test."""

import signal


def press_ctrl_c() -> None:
    """Do what Python does on a SIGINT.

    The signal itself ends this process with a segmentation fault where other tests have loaded TensorFlow and its kin,
    which bring handlers of their own.
    """
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, None)
