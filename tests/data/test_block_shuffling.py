"""What is said of block shuffling, against counting."""

import itertools
import statistics

import pytest

from ppvae.data import BlockShuffling


@pytest.mark.parametrize("batch", [2, 3])
def test_the_formulas_agree_with_all_orders_of_few_rows(batch):
    # 8 sorted rows in 4 blocks of 2, of which 2 fill the buffer; the first minibatch of a buffer.
    shuffling = BlockShuffling(rows=8, block=2, buffered=4)
    buffers = [
        (2 * a, 2 * a + 1, 2 * b, 2 * b + 1) for a, b in itertools.combinations(range(4), 2)
    ]
    batches = [each for buffer in buffers for each in itertools.combinations(buffer, batch)]
    full = [*itertools.combinations(range(8), batch)]
    # A row of one block is in half of the buffers, whose minibatch is a share of the epoch's.
    epoch = 8 / batch
    for pair, same in (((0, 1), True), ((0, 5), False)):
        share = statistics.mean({*pair} <= {*each} for each in batches) * epoch
        assert share == pytest.approx(shuffling.together(batch, same_block=same))
    deviations = [statistics.pstdev(map(statistics.mean, each)) for each in (batches, full)]
    total = statistics.pvariance(range(8))
    between = statistics.pvariance([0.5, 2.5, 4.5, 6.5]) / total
    assert deviations[0] / deviations[1] == pytest.approx(
        shuffling.relative_deviation(batch, between)
    )


def test_a_buffer_of_all_rows_shuffles_fully():
    shuffling = BlockShuffling(rows=100, block=7, buffered=100)
    assert shuffling.relative_deviation(10) == 1
    assert shuffling.together(10, same_block=True) == shuffling.together(10, same_block=False)
    with pytest.raises(ValueError, match="block of 9 rows does not fit into a buffer of 8"):
        BlockShuffling(10, 9, 8)
