"""Pairs in plain Pyro, as their users write them: chains in closed form, and known programs."""

from tests.strangers.closed_forms import (
    FixedPlate,
    Ignored,
    Marginalized,
    MaskedLoop,
    OneBatchDimension,
    PlateNotRightmost,
    RefusesTwo,
    SampledDiscrete,
    TopDown,
    TwoLatents,
    marginal_normal,
)

__all__ = [
    "FixedPlate",
    "Ignored",
    "Marginalized",
    "MaskedLoop",
    "OneBatchDimension",
    "PlateNotRightmost",
    "RefusesTwo",
    "SampledDiscrete",
    "TopDown",
    "TwoLatents",
    "marginal_normal",
]
