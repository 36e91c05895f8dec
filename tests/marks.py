"""Marks of families of parameters: the sharpest few are fast, all others slow."""

import itertools

import pytest


def slow_but(fast, cases):
    """Return the parameters of a test, slow but for these; a dict's are named by its keys."""
    named = cases.items() if isinstance(cases, dict) else zip(cases, cases, strict=True)
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            id=name if isinstance(cases, dict) else None,
            marks=[] if name in fast else [pytest.mark.slow],
        )
        for name, case in named
    ]


def each_once(*families):
    """Return all combinations of named values, slow but for so few that each value is in one."""
    names = [[*family] for family in families]
    count = max(map(len, names))
    fast = {tuple(some[n % len(some)] for some in names) for n in range(count)}
    return [
        pytest.param(
            *(family[name] for family, name in zip(families, chosen, strict=True)),
            id="-".join(map(str, chosen)),
            marks=[] if chosen in fast else [pytest.mark.slow],
        )
        for chosen in itertools.product(*names)
    ]
