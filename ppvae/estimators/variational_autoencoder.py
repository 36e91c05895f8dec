"""A VAE as an estimator of scikit-learn."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from ppvae.data import Schema
from ppvae.engine import seeded
from ppvae.estimators.densities import log_densities
from ppvae.estimators.forms import Table, is_frame
from ppvae.estimators.means import mean_of
from ppvae.estimators.preparation import check_rows, form_of, split
from ppvae.estimators.validation import check_columns, checked_array
from ppvae.inference import EarlyStopping, fit
from ppvae.likelihoods import Likelihood
from ppvae.networks import ResidualMLP
from ppvae.pairs import VAE, assemble
from ppvae.priors import Prior

_ROWS = 10_000  # that a network is called with at once


class VariationalAutoencoder(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]  # scikit-learn has no types
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """A variational autoencoder: a transformer, and a density estimator.

    The pair p(z) p(x|z), q(z|x) is built by `pairs.assemble` and trained by `ppvae.fit` (Kingma
    and Welling, "Auto-Encoding Variational Bayes", 2014). It standardizes inside: no scaler is
    needed. Rows have the units that `fit` was given, and so has log P(x).

    Rows are an array or list `(data, features)`, or a frame of pandas, polars or pyarrow. The
    likelihood follows from the values. Those of an array are looked at together: 0 and 1, whole
    numbers, [0, 1], real numbers. The columns of a frame may be of any kinds, as in `data.table`:
    text and other categories, counts, positive numbers. In both, missing cells (NaN) are left out
    of the density; `transform` takes them if the rows of `fit` had some.

    The same `random_state` gives the same results bit for bit on the same machine with the same
    number of threads.

    Args:
        latent: number of latent dimensions.
        network: called with the sizes of input and output, for encoder and decoder.
        likelihood: called with the decoder; by default the values decide.
        prior: called with `latent`; the standard normal by default.
        schema: what the columns of a frame hold, a `data.Schema` or its file; found by default.
        types: the types of some columns of a frame, by name, as in `data.table`.
        epochs: number of passes over the data. If neither these nor `steps` are given, training
            goes on while the ELBO rises, as `ppvae.fit` says.
        steps: number of optimizer steps, instead of epochs.
        batch_size: rows of a minibatch, 128 by default; all rows if there are fewer.
        learning_rate: that of Adam.
        validation_fraction: the fraction of the rows that is held out to stop early, if `fit` gets
            at least 50 rows; 0 holds out none.
        patience: number of evaluations without a rise of the held-out ELBO after which training
            stops, with the best weights.
        draws: number of draws of z by which log P(x) of a row is estimated.
        random_state: of split, weights, training, `score_samples` and `sample`; a number, a
            `RandomState`, or None for NumPy's global one.
        verbose: show a progress bar.

    Attributes:
        pair_: the trained pair, in double precision; diagnostics take it.
        schema_: what the columns of a frame hold; None of an array.
        notes_: what was decided about a frame, a sentence each; also logged as warnings.
        history_: what each evaluation in training measured.
        n_iter_: number of passes over the data.
        n_features_in_: number of features.
        feature_names_in_: the names of the features, where they are text.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.cluster import KMeans
        >>> rows = load_iris().data
        >>> autoencoder = VariationalAutoencoder(latent=2, epochs=20, random_state=0)
        >>> autoencoder.fit_transform(rows).shape, autoencoder.sample(5).shape
        ((150, 2), (5, 4))
        >>> pipeline = make_pipeline(autoencoder, KMeans(3, random_state=0)).fit(rows)
        >>> pipeline.predict(rows).shape
        (150,)
    """

    def __init__(
        self,
        latent: int = 2,
        *,
        network: Callable[[int, int], nn.Module] = ResidualMLP,
        likelihood: Callable[[nn.Module], Likelihood] | None = None,
        prior: Callable[[int], Prior] | None = None,
        schema: str | Path | Schema | None = None,
        types: Mapping[str, str] | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        validation_fraction: float = 0.1,
        patience: int = 20,
        draws: int = 500,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.latent = latent
        self.network = network
        self.likelihood = likelihood
        self.prior = prior
        self.schema = schema
        self.types = types
        self.epochs = epochs
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.draws = draws
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: object = None) -> "VariationalAutoencoder":
        """Train a pair on rows.

        Args:
            X: the rows.
            y: is not used.

        Raises:
            ValueError: if a parameter or the rows are not valid; the message says why.
            Unsupported: if no likelihood is known for the rows, and none is given.
            Diverged: on a NaN or infinite loss.
        """
        self._check_parameters()
        rows = self._rows(X, reset=True)
        self._form, self.notes_ = form_of(rows, self.schema, self.types)
        x, seen = self._form.encode(rows)
        check_rows(self._form, x, seen)
        self.schema_ = self._form.schema if isinstance(self._form, Table) else None
        self._complete = bool(seen.all())
        if self.schema_ is not None:
            self._complete &= self.schema is None or self.schema_.complete
            self.schema_ = replace(self.schema_, complete=self._complete)
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        known = None if self._complete else seen
        dataset = split(self._form, x.float(), known, self.validation_fraction, self._seed)
        with seeded(self._seed):
            pair = assemble(
                dataset,
                latent=int(self.latent),
                network=self.network,
                likelihood=self.likelihood,
                prior=self.prior,
            )
        held_out = dataset.batch("validation") if len(dataset.validation) else None
        result = fit(
            pair,
            dataset.batch("train"),
            validation=held_out,
            epochs=self.epochs,
            steps=self.steps,
            batch_size=self.batch_size and min(self.batch_size, len(dataset.train)),
            optimizer=functools.partial(torch.optim.Adam, lr=self.learning_rate),
            callbacks=() if held_out is None else [EarlyStopping(self.patience)],
            compile=False,  # from which step on code is compiled depends on time
            seed=self._seed,
            progress=bool(self.verbose),
        )
        self.pair_: VAE = pair.double()
        self.history_: xr.Dataset = result.history
        self.n_iter_ = max(1, int(result.history["epoch"].values[-1]))
        self._n_features_out = self.latent
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Return the means of q(z|x), `(data, latent)`.

        Args:
            X: the rows.

        Raises:
            ValueError: if the rows are not like those of `fit`.
        """
        with torch.no_grad():
            means = [self.pair_.encode(*part).mean for part in _parts(self._batch(X))]
        array: NDArray[np.float64] = torch.cat(means).numpy()
        return array

    def inverse_transform(self, X: Any) -> Any:
        """Return the mean of p(x|z); of a category the most probable level.

        Args:
            X: values of z, `(data, latent)`.

        Returns:
            An array `(data, features)`, or a frame if `fit` was given one, in the units and with
            the levels of the rows of `fit`; columns that were set aside are left out.

        Raises:
            ValueError: if X is no array of numbers `(data, latent)`.
        """
        check_is_fitted(self)
        z = torch.tensor(check_array(X, dtype=np.float64))
        if z.shape[1] != self._n_features_out:
            raise ValueError(
                f"inverse_transform needs {self._n_features_out} latent dimensions, got an array "
                f"with {z.shape[1]} columns"
            )
        means = [mean_of(self.pair_.decode(*part)) for part in _parts((z, *self._all(z)))]
        return self._form.decode(torch.cat(means))

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Return log P(x) of each row, `(data,)`, in nats.

        By importance sampling, from `draws` points that are the same for all rows; -inf where a
        row has a value that the likelihood excludes. `diagnostics.evidence(pair_, ...)` estimates
        it too, and says where the estimate can be trusted.

        Args:
            X: the rows.

        Raises:
            ValueError: if the rows are not like those of `fit`.
        """
        batch = self._batch(X)
        scores: NDArray[np.float64] = log_densities(
            self.pair_, batch, self.draws, self._seed
        ).numpy()
        return scores

    def score(self, X: Any, y: object = None) -> float:
        """Return the mean of log P(x) over the rows, in nats.

        Args:
            X: the rows.
            y: is not used.
        """
        return float(self.score_samples(X).mean())

    def sample(
        self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> Any:
        """Draw rows from p(x).

        Args:
            n_samples: how many.
            random_state: of the draws; that of the estimator unless given.

        Returns:
            An array `(n_samples, features)`, or a frame if `fit` was given one.

        Raises:
            ValueError: if `n_samples` is below 1.
        """
        check_is_fitted(self)
        _check_whole("n_samples", n_samples)
        state = self.random_state if random_state is None else random_state
        with seeded(int(check_random_state(state).randint(2**31 - 1))), torch.no_grad():
            z = self.pair_.prior().expand([int(n_samples)]).sample()
            x = [self.pair_.decode(*part).sample() for part in _parts((z, *self._all(z)))]
        return self._form.decode(torch.cat(x))

    def __sklearn_tags__(self) -> Any:
        """Say that cells may be missing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _more_tags(self) -> dict[str, bool]:
        # The same for scikit-learn before 1.6.
        return {"allow_nan": True}

    def _check_parameters(self) -> None:
        for name in ("latent", "draws", "patience"):
            _check_whole(name, getattr(self, name))
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction must be in [0, 1), got {self.validation_fraction}"
            )
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")

    def _rows(self, X: Any, *, reset: bool = False) -> Any:
        """Return rows as a checked array, or a frame as it is."""
        if is_frame(X) and (reset or isinstance(self._form, Table)):
            check_columns(self, X, reset=reset)
            return X
        return checked_array(self, X, reset=reset, fewest=2 if reset else 1)

    def _batch(self, X: Any) -> tuple[Tensor, ...]:
        """Return what the pair is called with."""
        check_is_fitted(self)
        x, seen = (part.double() for part in self._form.encode(self._rows(X)))
        if not self._complete:
            return x, seen
        lacking = (seen < 1).nonzero()
        if len(lacking):
            row, feature = lacking[0].tolist()
            raise ValueError(
                f"X lacks {self._form.name(feature)} in row {row}, or holds a level there that "
                "fit did not see, while no row of fit lacked a cell; give fit some rows that do, "
                "or a schema with complete=False"
            )
        return (x,)

    def _all(self, z: Tensor) -> tuple[Tensor, ...]:
        """Return what stands beside z if cells may be missing: that none is."""
        features = len(self._form)
        return () if self._complete else (torch.ones(len(z), features, dtype=z.dtype),)


def _parts(tensors: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
    """Yield rows that a network is called with at once."""
    return zip(*(tensor.split(_ROWS) for tensor in tensors), strict=True)


def _check_whole(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
