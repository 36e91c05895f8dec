"""Why something is not on a page."""

from ppvae.engine import Unsupported, first_line, raised_in_pair


def reason_of(error: Exception) -> str:
    """Return why a method does not apply, or where the pair's own code failed; raise a bug.

    Raises:
        Exception: the error itself, if it is neither.
    """
    if isinstance(error, Unsupported):
        return first_line(error).rstrip(".")
    place = raised_in_pair(error)
    if place is None:
        raise error
    return f"{type(error).__name__} at {place}: {first_line(error)}".rstrip(".")
