"""Names of classes in saved files: public paths, so that a moved module breaks no saved run."""

import sys

_PUBLIC = ("ppvae.", "torch.nn.")
_RENAMED = {
    "ppvae.flows": "ppvae.distributions.flows",
    "ppvae.data.colours": "ppvae.data.colors",
    "ppvae.likelihoods.GreyBernoulli": "ppvae.likelihoods.GrayBernoulli",
    "ppvae.likelihoods.grey_bernoulli.GreyBernoulli": "ppvae.likelihoods.GrayBernoulli",
}
_RENAMED_ARGUMENTS = {"doubly_reparameterised": "doubly_reparameterized"}


def class_name(cls: type) -> str:
    """Return the name under which a class is saved.

    A class of `ppvae` or `torch.nn` is named by the shortest path that leads to it, any other by
    its module.

    Example:
        >>> import torch
        >>> class_name(torch.nn.SiLU)
        'torch.nn.SiLU'
    """
    parts = cls.__module__.split(".")
    if f"{cls.__module__}.".startswith(_PUBLIC):
        for end in range(1, len(parts)):
            package = ".".join(parts[:end])
            if getattr(sys.modules.get(package), cls.__qualname__, None) is cls:
                return f"{package}.{cls.__qualname__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def present_name(name: str) -> str:
    """Return the present name of a class or argument that a saved file names.

    Example:
        >>> present_name("ppvae.flows.Reversal"), present_name("torch.nn.SiLU")
        ('ppvae.distributions.flows.Reversal', 'torch.nn.SiLU')
    """
    if name in _RENAMED_ARGUMENTS:
        return _RENAMED_ARGUMENTS[name]
    for old, new in _RENAMED.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name
