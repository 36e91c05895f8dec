"""Names of classes in saved files: public paths, so that a moved module breaks no saved run."""

import sys

_PUBLIC = ("ppvae.", "torch.nn.")
_RENAMED: dict[str, str] = {}


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
    """Return what a name from a saved file is called now.

    Example:
        >>> present_name("torch.nn.SiLU")
        'torch.nn.SiLU'
    """
    for old, new in _RENAMED.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name
