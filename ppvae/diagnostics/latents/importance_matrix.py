"""Disentanglement, completeness and informativeness, from what predictors look at."""

import numpy as np

from ppvae.diagnostics.latents.codes import Numbers


def scores(
    train: tuple[Numbers, Numbers], test: tuple[Numbers, Numbers], seed: int
) -> tuple[float, float, float]:
    """Return disentanglement, completeness and informativeness (DCI), 1 at best.

    A random forest predicts each factor from all dimensions; R_jk is the share of dimension j in
    the variance that the forest of factor k explains (Eastwood and Williams, "A framework for the
    quantitative evaluation of disentangled representations", 2018).

    - disentanglement: sum_j rho_j (1 - H_K(R_j. / sum)), rho_j the share of row j: 1 if each
      dimension serves one factor;
    - completeness: 1/K sum_k (1 - H_D(R_.k)): 1 if each factor is served by one dimension;
    - informativeness: the mean R^2 of the forests on test data, 1 less the squared error over the
      variance; below 0 if worse than a constant.

    H_K and H_D are entropies to the base of the number of factors and of dimensions.

    Args:
        train: codes `(data, latent)` and factors `(data, factor)` to fit to.
        test: the same, to measure informativeness.
        seed: of the forests.
    """
    # Imported here, scikit-learn does not add a second to the start of every program.
    from sklearn.ensemble import RandomForestRegressor

    columns, informativeness = [], []
    for factor, held_out in zip(train[1].T, test[1].T, strict=True):
        forest = RandomForestRegressor(
            n_estimators=10, min_samples_leaf=5, random_state=seed % 2**32
        )
        forest.fit(train[0], factor)
        columns.append(forest.feature_importances_)
        informativeness.append(forest.score(test[0], held_out))
    disentangled, complete = of_importances(np.stack(columns, 1))
    return disentangled, complete, float(np.mean(informativeness))


def of_importances(importances: Numbers) -> tuple[float, float]:
    """Return disentanglement and completeness of a matrix R of importances, `(latent, factor)`.

    Example:
        >>> of_importances(np.eye(3))
        (1.0, 1.0)
        >>> of_importances(np.ones((2, 2)))
        (0.0, 0.0)
    """
    rows = importances.sum(1)
    if rows.sum() == 0:
        return 0.0, 0.0
    disentangled = (rows / rows.sum()) @ _concentration(importances)
    return float(disentangled), float(_concentration(importances.T).mean())


def _concentration(weights: Numbers) -> Numbers:
    """Return one less the relative entropy of each row; 1 for a single column, 0 for no weight."""
    total = weights.sum(1, keepdims=True)
    share = weights / np.where(total > 0, total, 1.0)
    logs = np.log(np.where(share > 0, share, 1.0))
    entropy = -(share * logs).sum(1)
    relative = entropy / np.log(max(weights.shape[1], 2))
    concentration: Numbers = np.where(total[:, 0] > 0, 1 - relative, 0.0)
    return concentration
