"""What a dataset knows."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import one_hot

from ppvae.data.notebook_tables import html_table
from ppvae.data.standardization import Standardization
from ppvae.data.supports import support_text
from ppvae.data.tabular import Schema


@dataclass(frozen=True, repr=False)
class Dataset:
    """Training, validation and test data of one kind.

    Args:
        name: a short name, used for titles and folders.
        train: the datapoints to train on, `(data, *event)`; all three may be `LazyRows`.
        validation: the datapoints that decide when to stop.
        test: the datapoints that nothing is fitted to.
        support: the values that one feature may take; of a table with columns of different kinds
            `constraints.cat` of theirs.
        labels: the class of each datapoint: for "train", "validation" and "test" a tensor
            `(data,)`; empty where classes are not known.
        factors: the hidden factors that made each datapoint: for each split a tensor
            `(data, factor)`; empty where they are not known.
        factor_names: what the factors are.
        image_shape: height and width if a datapoint is an image, flattened or not.
        ink: whether high values of an image are dark, as ink on paper; otherwise they are light,
            as in photographs.
        series_shape: steps and features if a datapoint is a series, flattened step after step or
            not.
        standardization: the shift and scale of each feature, where a pair is to learn features of
            mean 0 and standard deviation 1. The values here stay as they are: `pairs.assemble`
            builds it into the pair.
        rows: where each datapoint was in the data that were split: for each split the numbers of
            its rows, `(data,)`, from 0; empty where that is not known.
        columns: the names of the features, where they have any.
        label_names: the names of the classes, in the order of their numbers in `labels`.
        row_names: the name of each datapoint, for each split; empty where they have none.
        notes: what was decided in reading the data, one sentence each.
        conditions: what a pair gets beside each datapoint: for each split tensors
            `(data, features)`, such as classes, one-hot; empty where it gets nothing.
        sizes: how much of each datapoint was observed, such as the total count of a cell: for each
            split `(data, 1)`; empty where that is not known. `likelihoods.ObservedSize` takes it.
        seen: which numbers of each datapoint are known, 1 or 0: for each split `(data, *event)`;
            empty where all are. The others hold any value of the support.
        schema: of a table, what its columns hold.
    """

    name: str
    train: Tensor
    validation: Tensor
    test: Tensor
    support: constraints.Constraint
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    factors: Mapping[str, Tensor] = field(default_factory=dict)
    factor_names: tuple[str, ...] = ()
    image_shape: tuple[int, int] | None = None
    standardization: Standardization | None = None
    rows: Mapping[str, Tensor] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    row_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    conditions: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict)
    sizes: Mapping[str, Tensor] = field(default_factory=dict)
    seen: Mapping[str, Tensor] = field(default_factory=dict)
    schema: Schema | None = None
    ink: bool = False
    series_shape: tuple[int, int] | None = None

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one datapoint."""
        return self.train.shape[1:]

    @property
    def classes(self) -> int:
        """How many classes there are.

        Raises:
            ValueError: if they are not known.
        """
        if not self.labels:
            raise ValueError(f"dataset {self.name!r} has no labels, which a pair could be given")
        return 1 + max(int(labels.max()) for labels in self.labels.values())

    def row_numbers(self, split: str) -> Tensor:
        """Return where the datapoints of a split were in the file or array, `(data,)`, from 0.

        Where that is not known, they are counted within the split.

        Args:
            split: "train", "validation" or "test".

        Example:
            >>> from ppvae.data import split
            >>> parts = split("noise", torch.randn(100, 3), constraints.real)
            >>> every = torch.cat([parts.row_numbers(s) for s in ("train", "validation", "test")])
            >>> torch.equal(every.sort().values, torch.arange(100))
            True
        """
        return self.rows[split] if split in self.rows else torch.arange(len(getattr(self, split)))

    def batch(self, split: str) -> tuple[Tensor, ...]:
        """Return what a pair is called with for a split: `(x, *conditions, size, seen)`.

        Size and seen are left out where there are none.

        Args:
            split: "train", "validation" or "test".

        Example:
            >>> from ppvae.data import split
            >>> parts = split("noise", torch.randn(100, 3), constraints.real)
            >>> len(parts.batch("train"))
            1
        """
        others = [each[split] for each in (self.sizes, self.seen) if each]
        return (getattr(self, split), *self.conditions.get(split, ()), *others)

    def sampled(self, rows: int = 1000, seed: int = 0) -> "Dataset":
        """Return the dataset with at most so many rows of each split, drawn at random, as tensors.

        For what takes all rows at once, where they are too many.

        Args:
            rows: of each split at most; a smaller one stays whole.
            seed: of the choice.

        Raises:
            ValueError: if there is to be no row.

        Example:
            >>> from ppvae.data import split
            >>> parts = split("noise", torch.randn(100, 3), constraints.real)
            >>> few = parts.sampled(20)
            >>> len(few.train), torch.equal(few.test, parts.test)
            (20, True)
        """
        if rows < 1:
            raise ValueError(f"rows must be at least 1, got {rows}")
        chosen: dict[str, Tensor] = {}
        for part in ("train", "validation", "test"):
            count = len(getattr(self, part))
            picked = sorted(random.Random(seed).sample(range(count), min(rows, count)))
            chosen[part] = torch.tensor(picked, dtype=torch.long)

        def of(known: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {part: known[part][index] for part, index in chosen.items() if part in known}

        return replace(
            self,
            **{part: getattr(self, part)[index] for part, index in chosen.items()},
            labels=of(self.labels),
            factors=of(self.factors),
            rows=of(self.rows) or chosen,
            row_names={
                part: tuple(names[place] for place in chosen[part].tolist())
                for part, names in self.row_names.items()
            },
            conditions={
                part: tuple(each[chosen[part]] for each in given)
                for part, given in self.conditions.items()
            },
            sizes=of(self.sizes),
            seen=of(self.seen),
        )

    def conditional(self) -> "Dataset":
        """Return the dataset for a pair that is given the class of each datapoint, one-hot.

        Raises:
            ValueError: if the classes are not known.

        Example:
            >>> from ppvae.data import split
            >>> classes = torch.arange(100) % 4
            >>> parts = split("noise", torch.randn(100, 3), constraints.real, labels=classes)
            >>> x, given_class = parts.conditional().batch("test")
            >>> given_class.shape
            torch.Size([10, 4])
        """
        count = self.classes
        conditions = {
            part: (
                one_hot(labels.long(), count).to(self.train.dtype),
                *self.conditions.get(part, ()),
            )
            for part, labels in self.labels.items()
        }
        return replace(self, conditions=conditions)

    def labeled(self, known: int | None = None, seed: int = 0) -> "Dataset":
        """Return the dataset for a pair that takes the class of each datapoint as its number.

        Args:
            known: how many training rows keep their class, of each class about as many; of all
                others, and of validation and test, it is -1, which says that it is not known. All
                rows keep it unless given.
            seed: of the choice.

        Raises:
            ValueError: if the classes are not known, or fewer rows keep theirs than there are
                classes.

        Example:
            >>> from ppvae.data import split
            >>> classes = torch.arange(100) % 4
            >>> parts = split("noise", torch.randn(100, 3), constraints.real, labels=classes)
            >>> x, y = parts.labeled(known=8).batch("train")
            >>> [int((y == number).sum()) for number in (-1, 0, 1, 2, 3)]
            [72, 2, 2, 2, 2]
        """
        count = self.classes
        labels = {part: each.long() for part, each in self.labels.items()}
        if known is not None:
            train = labels["train"]
            if known < count:
                raise ValueError(f"known must be at least the {count} classes, got {known}")
            kept = _some_of_each(train, known, seed)
            labels = {part: torch.full_like(each, -1) for part, each in labels.items()}
            labels["train"][kept] = train[kept]
        conditions = {
            part: (each, *self.conditions.get(part, ())) for part, each in labels.items()
        }
        return replace(self, conditions=conditions)

    def standardized(self, by: Standardization | None = None) -> "Dataset":
        """Return the dataset for a pair that learns every feature in units of its own.

        The values stay as they are, so that a pair made of it by `pairs.assemble` takes and gives
        values in the units of the data, and log P(X) is in nats of the data in those units.

        Args:
            by: the shift and scale; by default those of the training data, where they are known.
        """
        by = by or Standardization.of(self.train, self.seen.get("train"))
        return replace(self, support=constraints.real, standardization=by)

    def __repr__(self) -> str:
        """Return what the dataset holds, a line each."""
        facts = list(self._facts())
        width = max(len(name) for name, _ in facts)
        lines = [f"  {name:{width}}  {text}" for name, text in facts]
        return "\n".join([f"Dataset {self.name!r}", *lines])

    def _repr_html_(self) -> str:
        """Return the same as a table, which notebooks show."""
        return html_table(f"Dataset {self.name}", self._facts())

    def _facts(self) -> Iterator[tuple[str, str]]:
        splits = ("train", "validation", "test")
        yield "rows", ", ".join(f"{len(getattr(self, part)):,} {part}" for part in splits)
        image = self.image_shape
        pixels = "" if image is None else f", an image of {image[0]} x {image[1]}"
        yield "one row", f"shape {tuple(self.event_shape)}{pixels}"
        yield "support", support_text(self.support)
        if self.schema is not None:
            kinds = [f"{one.name} ({type(one).__name__.lower()})" for one in self.schema.columns]
            yield "columns", _listed(kinds)
        elif self.columns:
            yield "columns", _listed(self.columns)
        if self.seen:
            known = sum(float(seen.double().sum()) for seen in self.seen.values())
            cells = sum(seen.numel() for seen in self.seen.values())
            yield "missing", f"{1 - known / cells:.1%} of the values"
        if self.labels:
            names = self.label_names or tuple(map(str, range(self.classes)))
            yield "labels", f"{len(names)} classes: {_listed(names)}"
        if self.factor_names:
            yield "factors", _listed(self.factor_names)
        if self.conditions:
            shapes = [str(tuple(one.shape[1:])) for one in self.conditions["train"]]
            yield "conditions", f"of shape {' and '.join(shapes)}"
        if self.sizes:
            yield "sizes", "how much of each datapoint was observed"
        if self.standardization is not None:
            yield "scaling", "a pair learns features of mean 0 and standard deviation 1"
        if self.notes:
            more = f" (and {len(self.notes) - 1} more in `notes`)" if len(self.notes) > 1 else ""
            yield "note", self.notes[0] + more


def _some_of_each(labels: Tensor, count: int, seed: int) -> Tensor:
    """Return the places of rows, of each class about as many."""
    order = torch.tensor(random.Random(seed).sample(range(len(labels)), len(labels)))
    # The first row of each class, then the second of each, and so on.
    places = [order[labels[order] == number] for number in labels.unique() if number >= 0]
    rank = torch.cat([torch.arange(len(each)) for each in places])
    return torch.cat(places)[rank.argsort(stable=True)][:count]


def _listed(names: Sequence[str], most: int = 10) -> str:
    rest = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + rest
