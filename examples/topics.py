"""Find what the docstrings of scientific packages are about, and compare with another method."""

import argparse
import functools
import importlib
import inspect
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from sklearn.decomposition import LatentDirichletAllocation
from torch import Tensor

import ppvae
from ppvae import data, diagnostics, pairs

MODULES = (
    "matplotlib.pyplot",
    "numpy.linalg",
    "numpy.random",
    "pandas",
    "scipy.integrate",
    "scipy.interpolate",
    "scipy.linalg",
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.signal",
    "scipy.sparse",
    "scipy.spatial",
    "scipy.special",
    "scipy.stats",
    "sklearn.cluster",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.preprocessing",
    "torch.distributions",
    "torch.nn",
)


def docstrings() -> data.Dataset:
    """Return the words of public docstrings, with their module as label."""
    module_of: dict[str, str] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for key in getattr(module, "__all__", dir(module)):
            member = getattr(module, key, None)
            text = inspect.getdoc(member) if callable(member) and key[0] != "_" else None
            if text and len(text) > 300:
                module_of.setdefault(text, name)
    return data.documents(
        list(module_of),
        name="docstrings",
        labels=list(module_of.values()),
        words=1000,
        rarest=10,
        commonest=0.25,
    )


def coherence(words: Tensor, counts: Tensor) -> Tensor:
    """Return how much likelier words of a topic occur together than apart, from -1 to 1.

    The mean over pairs of words of log(p(a, b) / (p(a) p(b))) / -log p(a, b), where p is the share
    of documents in which they occur (Bouma, "Normalized (pointwise) mutual information in
    collocation extraction", 2009).

    Args:
        words: the numbers of each topic's words, `(topics, words)`.
        counts: the documents, `(documents, vocabulary)`.
    """
    occurs = (counts > 0).double().T
    share = occurs.mean(1)[words]
    first, second = np.triu_indices(words.shape[1], 1)
    pair = (occurs[words] @ occurs[words].mT / occurs.shape[1])[:, first, second]
    alone = share[:, first] * share[:, second]
    return torch.where(pair > 0, (pair / alone).log() / -pair.log(), -1.0).mean(1)


def drawn(shares: Tensor, documents: data.Dataset, names: list[str]) -> Figure:
    """Return a figure of the mean share of each topic in the documents of each module."""
    labels = documents.labels["train"].numpy()
    mean = pd.DataFrame(shares.numpy()).groupby(labels).mean()
    # Topics stand in the order of the modules that use them most.
    order = mean.to_numpy().argmax(0).argsort(kind="stable")
    figure = Figure(figsize=(8.5, 6), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(mean.to_numpy()[:, order], cmap="gray_r", aspect="auto", vmin=0)
    axis.set_yticks(range(len(mean)), [documents.label_names[number] for number in mean.index])
    axis.set_xticks(range(len(order)), [names[topic] for topic in order], rotation=60, ha="right")
    axis.set_title("Mean share of each topic, named by its first words, in modules", fontsize=10)
    figure.colorbar(image, label="share")
    return figure


def main(topics: int = 20, epochs: int = 60, output: str = ".") -> None:
    """Find topics with a VAE and with LDA, print words and coherence, write `topics.png`."""
    torch.manual_seed(0)
    documents = docstrings()
    counts = documents.train
    pair = pairs.TopicModel.of(documents, latent=topics)
    adam = functools.partial(torch.optim.Adam, lr=1e-2)
    ppvae.fit(pair, counts, epochs=epochs, optimizer=adam)
    reference = LatentDirichletAllocation(topics, doc_topic_prior=0.2, random_state=0)
    reference.fit(counts.numpy())
    words = {
        "TopicModel": pair.words(10),
        "LDA of scikit-learn": torch.as_tensor(reference.components_).topk(10).indices,
    }
    print(f"{len(counts)} docstrings, {counts.shape[1]} words")
    for method, of in words.items():
        scores = coherence(of, counts)
        distinct = len(of.unique()) / of.numel()
        print(f"\n{method}: coherence {scores.mean():.2f}, {distinct:.0%} of the words distinct")
        for topic in scores.argsort(descending=True).tolist():
            line = " ".join(documents.columns[word] for word in of[topic].tolist())
            print(f"  {scores[topic]:5.2f}  {line}")
    terms = diagnostics.evidence(pair, documents.test, draws=50)
    per_word = float(terms.log_evidence.sum()) / float(documents.test.sum())
    print(f"\nlog p(x) of held-out docstrings: {per_word:.2f} nats a word")
    names = [" ".join(documents.columns[word] for word in of[:2].tolist()) for of in pair.words(2)]
    Path(output).mkdir(parents=True, exist_ok=True)
    drawn(pair.shares(counts), documents, names).savefig(Path(output) / "topics.png", dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topics", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--output", default=".", help="folder of the figure")
    main(**vars(parser.parse_args()))
