"""`python -m ppvae`, the command line, as `torchrun -m ppvae` starts it too."""

import os
import sys

if __name__ == "__main__":
    # Python looks for modules in the present folder first, which a stranger may have filled.
    sys.path = [place for place in sys.path if place not in ("", os.getcwd())]

    from ppvae.cli import main

    sys.exit(main())
