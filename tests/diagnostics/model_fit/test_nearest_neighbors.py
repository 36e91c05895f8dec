"""The vote of neighbors: the same numbers as by a classifier that is trained for each swap."""

import sklearn.neighbors

from ppvae.diagnostics import classifier_two_sample, nearest_neighbor_two_sample
from tests import exact_pairs


def test_it_is_the_test_by_a_classifier_of_neighbors():
    pair = exact_pairs.LinearGaussian(2, 5)
    x = pair.simulate(60, 3)
    options = {"permutations": 20, "seed": 4}
    fast = nearest_neighbor_two_sample(pair, x, **options)
    classifier = sklearn.neighbors.KNeighborsClassifier(10)
    slow = classifier_two_sample(
        pair, x, classifier=classifier, folds=2, progress=False, **options
    )
    assert float(fast.accuracy) == float(slow.accuracy)
    assert float(fast.p_value) == float(slow.p_value)
