"""`python -m ppvae`, the command line, as `torchrun -m ppvae` starts it too."""

import sys

from ppvae.cli import main

if __name__ == "__main__":
    sys.exit(main())
