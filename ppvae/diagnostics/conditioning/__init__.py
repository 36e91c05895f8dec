"""Does a pair make use of the classes that it is given?"""

from ppvae.diagnostics.conditioning.samples_by_class import condition_use

__all__ = ["condition_use"]
