"""Why a program cannot become a graph."""


class Refused(Exception):
    """A program would do something else as a graph; the message says what, and where."""
