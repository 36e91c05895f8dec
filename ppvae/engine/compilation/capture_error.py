"""Why a program cannot run as a graph."""


class CaptureError(Exception):
    """A program would do something else as a graph; the message says what, and where."""
