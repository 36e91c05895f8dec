"""The terms of the ELBO that training records at each evaluation."""

from collections.abc import Sequence

import torch
import xarray as xr

from ppvae.engine import (
    PLATE,
    Batch,
    Pair,
    Sites,
    is_enumerated,
    plates,
    run_pair,
    same_order,
    scaled_kl,
    scaled_log_prob,
)
from ppvae.inference.row_scale import RowScale

Record = dict[str, float]
"""One evaluation: numbers by name."""


def datapoints(sites: Sites, rows: int, row_scale: RowScale | None = None) -> float:
    """Return how many datapoints a batch's loss stands for: its rows times the sites' scale.

    A plate of `size` with `subsample_size` rows scales the loss of its rows to that of `size`; so
    does a `poutine.scale` around all sites, and a `row_scale`. The rows are the plate's where the
    model picks some of the batch's itself.
    """
    if row_scale is not None:
        return datapoints(sites, rows) * row_scale.factor(rows)
    frames = [frame for site in sites.values() for frame in plates(site) if frame.name == PLATE]
    rows = frames[0].size if frames else rows
    scales = {float(torch.as_tensor(site["scale"]).double().mean()) for site in sites.values()}
    if len(scales) == 1:
        return rows * scales.pop()
    # Sites of different scale: the plate's own factor is what all of them share.
    return rows * (frames[0].full_size or rows) / frames[0].size if frames else float(rows)


def terms(pair: Pair, batch: Batch, row_scale: RowScale | None = None) -> Record:
    """Return one draw's estimate of ELBO, reconstruction and KL, in nats per datapoint.

    As in `diagnostics.evidence`, elbo = log p(x, z) - log q(z|x) and reconstruction = elbo + kl,
    with the KL in closed form where every latent has one and model and guide draw them in the same
    order. Masks, plate and `poutine.scale` factors count, so that latents outside the data plate
    are weighted as the objective weights them. A single draw gives no such terms for a pair that
    sums out latents: the record is empty.
    """
    guide, model = run_pair(pair, batch, drawn=True)
    latents = [name for name, site in model.items() if not site["is_observed"]]
    if set(latents) - set(guide) or any(is_enumerated(site) for site in model.values()):
        return {}
    count = datapoints(model, len(batch[0]), row_scale)
    if row_scale is not None:
        row_scale.apply(guide, len(batch[0]))
        row_scale.apply(model, len(batch[0]))
    likelihood = scaled_log_prob(site for site in model.values() if site["is_observed"])
    log_ratio = scaled_log_prob(guide.values()) - scaled_log_prob(model[name] for name in latents)
    closed_form = scaled_kl(guide, model, latents) if same_order(guide, latents) else None
    elbo, kl = likelihood - log_ratio, log_ratio if closed_form is None else closed_form
    return {"elbo": elbo / count, "reconstruction": (elbo + kl) / count, "kl": kl / count}


def as_dataset(records: Sequence[Record]) -> xr.Dataset:
    """Return records as a dataset over `step`, a variable for each name that all of them have."""
    first, *rest = records or [{}]
    names = [name for name in first if name != "step" and all(name in other for other in rest)]
    return xr.Dataset(
        {name: ("step", [record[name] for record in records]) for name in names},
        coords={"step": [int(record["step"]) for record in records]},
        attrs={"units": "nats per datapoint"},
    )
