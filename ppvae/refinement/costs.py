"""How long computations take without code: whether it pays to generate some."""

CACHED = 3 * 2**20
"""Bytes of the tensors of one run that stay in the caches of a core."""

_CALL = 5e-3  # seconds that the Python of one run of a pair with its gradient takes, about
_BYTE = 2e-9  # seconds for each byte that such a run makes


def seconds_without_code(runs: float, bytes: float) -> float:
    """Return about how many seconds a pair's own Python takes.

    Args:
        runs: number of runs, each with its gradient.
        bytes: that all runs make, as `Structure.bytes_per_draw` tells.

    Example:
        >>> seconds_without_code(1000, 1e9)
        7.0
    """
    return _CALL * runs + _BYTE * bytes
