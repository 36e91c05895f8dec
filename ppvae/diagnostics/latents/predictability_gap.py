"""Whether one dimension alone knows a factor: by prediction with a straight line."""

import numpy as np

from ppvae.diagnostics.latents.codes import Numbers


def predictability_gap(codes: Numbers, factors: Numbers) -> float:
    """Return the separated attribute predictability (SAP), between 0 and 1.

        SAP = 1/K sum_k (S_j1k - S_j2k),    S_jk = Cov(z_j, v_k)^2 / (Var(z_j) Var(v_k))

    with the two dimensions of the best scores for factor k (Kumar, Sattigeri and Balakrishnan,
    "Variational Inference of Disentangled Latent Concepts from Unlabeled Observations", 2018;
    theirs for continuous factors, here of all). A dimension that is constant scores 0.

    Args:
        codes: `(data, latent)`.
        factors: `(data, factor)`.

    Example:
        >>> values = np.array([[0.0, 1.0], [1.0, -1.0], [0.0, -1.0], [1.0, 1.0]])
        >>> round(predictability_gap(values, values), 6)
        1.0
    """
    z, v = codes - codes.mean(0), factors - factors.mean(0)
    spread = np.square(z).sum(0)
    scale = spread[:, None] * np.square(v).sum(0)
    # Below rounding a constant would have a correlation of noise.
    moving = spread > len(z) * np.square(np.finfo(z.dtype).eps * np.abs(codes).max(0))
    products = np.where(moving[:, None], np.square(z.T @ v), 0.0)
    scores = np.vstack([products / np.where(scale > 0, scale, 1.0), np.zeros((1, v.shape[1]))])
    first, second = np.sort(scores, axis=0)[::-1][:2]
    return float(np.mean(first - second))
