"""What a fit says before it trains."""

from pathlib import Path

import torch
from torch import nn
from torch.distributions import constraints

from ppvae import pairs
from ppvae.cli.opening import opening
from ppvae.data import Dataset


def table(columns):
    """A table whose columns are real, whole, real, whole, ..."""
    support = constraints.cat(
        [constraints.real, constraints.nonnegative_integer] * (columns // 2), dim=-1
    )
    names = tuple(f"a long name of column {n}" for n in range(columns))
    rows = torch.arange(60.0)[:, None].expand(60, columns)
    return Dataset("wide", rows[:40], rows[40:50], rows[50:], support, columns=names)


def test_a_wide_table_takes_eight_lines_of_a_hundred_columns(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    wide = table(40)
    pair = pairs.assemble(wide, latent=3)
    options = {"network": {"class_path": "ppvae.networks.ResidualMLP"}}
    reason = pairs.explained(wide)
    text = opening(wide, pair, Path("runs/wide-1"), reason=reason, options=options, latent=3)
    lines = text.splitlines()
    assert len(lines) <= 8 and max(map(len, lines)) <= 100
    assert (
        lines[0] == "data        wide: 40 training, 10 validation and 10 test rows of 40 features"
    )
    assert text.count("Normal: ") == 1  # one reason, whichever columns it is for
    assert lines[3].endswith("... runs/wide-1/data.json has all")
    count = sum(p.numel() for p in pair.parameters())
    assert lines[4] == f"pair        3 latent dimensions, ResidualMLP, {count:,} parameters"
    assert lines[-1] == "run         runs/wide-1"


def test_a_pair_of_ones_own_gets_the_values_as_they_are():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

    options = {"pair": {"class_path": "mine.Mine"}, "network": None}
    text = opening(table(2), Mine(), Path("r"), options=options, latent=10)
    assert "pair        Mine, your own, 8 parameters; it gets the values as they are" in text
    assert "likelihood" not in text and "latent" not in text
