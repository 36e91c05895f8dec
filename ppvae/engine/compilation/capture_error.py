"""Why a program cannot run as a graph."""


class CaptureError(Exception):
    """A program would do something else as a graph; the message says what, and where."""


class NoCode(CaptureError):
    """No code can be generated here, of no graph: without a compiler, or on a full disk."""
