"""All pairs whose posterior is known."""

from benchmarks.trust.components import COMPONENTS
from benchmarks.trust.counts import COUNTS
from benchmarks.trust.curved import CURVED
from benchmarks.trust.images import MNIST, Digits
from benchmarks.trust.nested import NESTED
from benchmarks.trust.normals import NORMALS
from benchmarks.trust.sphere import SPHERE
from benchmarks.trust.turned import TURNED

CASES = NORMALS | TURNED | CURVED | COUNTS | COMPONENTS | SPHERE | NESTED
"""What builds each pair with a closed form or a quick integral, by name."""

KNOWS_ONE = "two modes, guide knows one"


def cases(mnist=None):
    """Return what builds each pair, by name; that of MNIST needs the folder of its files."""
    found = CASES | {"digits VAE": Digits}
    return found if mnist is None else found | {"MNIST VAE": lambda: MNIST(mnist)}
