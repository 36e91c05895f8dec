"""What the arguments of a function or class may be, by its annotations."""

import dataclasses
import enum
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

Types: TypeAlias = tuple[Any, ...]
"""The types that one argument may have: the members of a union."""

_UNKNOWN = object()  # an annotation that cannot be evaluated
_NUMBERS = (bool, int, float, complex, NoneType)
_CONTAINERS = ("builtins", "collections", "collections.abc", "typing")


def expected(
    function: Callable[..., Any], names: Mapping[str, Any] | None = None
) -> tuple[dict[str, Types], bool]:
    """Return the types that each argument may have, and whether others are taken too.

    Args:
        function: a function, or a class that is constructed.
        names: what its annotations name and its module does not import.

    Example:
        >>> def f(steps: int, start: float | None = 0.0): ...
        >>> expected(f)
        ({'steps': (<class 'int'>,), 'start': (<class 'float'>, <class 'NoneType'>)}, False)
    """
    functions: list[Any] = [function]
    if inspect.isclass(function):
        # A constructor that takes `**kwargs` hands them on to the next one.
        constructors = [vars(base).get("__init__") for base in function.__mro__[:-1]]
        functions = [constructor for constructor in constructors if constructor is not None]
    found: dict[str, Types] = {}
    for one in functions:
        parameters = _parameters(one, names or {})[inspect.isclass(function) :]
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found.setdefault(parameter.name, _members(_annotation(parameter)))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return found, False
    return found, bool(functions)


def _parameters(function: Callable[..., Any], names: Mapping[str, Any]) -> list[inspect.Parameter]:
    try:
        signature = inspect.signature(function)
    except ValueError:  # a built-in function has none
        return []
    known = {**getattr(inspect.unwrap(function), "__globals__", {}), **names}
    return [_evaluated(parameter, known) for parameter in signature.parameters.values()]


def _evaluated(parameter: inspect.Parameter, known: dict[str, Any]) -> inspect.Parameter:
    if not isinstance(parameter.annotation, str):
        return parameter
    try:
        return parameter.replace(annotation=eval(parameter.annotation, known))
    except Exception:  # it may name what is imported for the type checker alone
        return parameter.replace(annotation=_UNKNOWN)


def _annotation(parameter: inspect.Parameter) -> Any:
    if parameter.annotation is not parameter.empty:
        return parameter.annotation
    given = parameter.default
    simple = given is parameter.empty or isinstance(given, (*_NUMBERS, str, tuple))
    # The parser expects something of the default's own class.
    return Any if simple else _UNKNOWN


def _origin(hint: Any) -> Any:
    return get_origin(hint)


def _members(hint: Any) -> Types:
    if _origin(hint) in (Union, UnionType):
        return tuple(member for inner in get_args(hint) for member in _members(inner))
    if _origin(hint) is Annotated:
        return _members(get_args(hint)[0])
    if isinstance(hint, TypeVar):
        return _members(hint.__bound__) if hint.__bound__ else (_UNKNOWN,)
    if hasattr(hint, "__supertype__"):  # NewType
        return _members(hint.__supertype__)
    return (hint,)


def takes_anything(types: Types) -> bool:
    """Tell whether there is no annotation, or none that says anything."""
    return any(hint is Any or hint is object for hint in types)


def takes_text(types: Types, text: str) -> bool:
    """Tell whether a text is a value by itself: of `str`, of a path, one of some words."""
    return any(
        text in get_args(hint)
        if _origin(hint) is Literal
        else isinstance(hint, type) and issubclass(hint, (str, os.PathLike, enum.Enum))
        for hint in types
    )


def classes_in(types: Types) -> Types:
    """Return those types that want a class, a function, or an object of a class."""
    return tuple(hint for hint in types if _wants_class(hint))


def want_any_callable(types: Types) -> bool:
    """Tell whether only a callable is wanted, whatever it returns, such as a class itself."""
    returned = [get_args(hint)[-1:] for hint in types if _origin(hint) is Callable]
    return bool(types) and len(returned) == len(types) and all(r == (Any,) for r in returned)


def _wants_class(hint: Any) -> bool:
    if hint is _UNKNOWN or _origin(hint) in (type, Callable):
        return True
    if _origin(hint) is Literal or hint is Any or hint is object or hint in _NUMBERS:
        return False
    if isinstance(hint, type) and issubclass(hint, (str, os.PathLike, enum.Enum)):
        return False
    return not _is_container(_origin(hint) or hint)


def _is_container(origin: Any) -> bool:
    if not isinstance(origin, type) or origin.__module__ not in _CONTAINERS:
        return False
    return issubclass(origin, Iterable) and origin is not str


def items_of(types: Types, index: int = 0) -> Types:
    """Return the types that one item of a list may have; none if it may be no list."""
    found: list[Any] = [hint for hint in types if hint in (Any, object, _UNKNOWN)]
    for hint in types:
        origin, arguments = _origin(hint) or hint, get_args(hint)
        if not _is_container(origin) or issubclass(origin, Mapping):
            continue
        if not arguments:
            found.append(Any)
        elif not issubclass(origin, tuple) or arguments[-1] is Ellipsis:
            found += _members(arguments[0])
        elif index < len(arguments):
            found += _members(arguments[index])
    return tuple(found)


def values_of(types: Types) -> Types:
    """Return the types that a value of a mapping may have; none if it may be no mapping."""
    found: list[Any] = [hint for hint in types if hint in (Any, object, _UNKNOWN)]
    for hint in types:
        origin, arguments = _origin(hint) or hint, get_args(hint)
        if _is_container(origin) and issubclass(origin, Mapping):
            found += _members(arguments[1]) if len(arguments) == 2 else [Any]
    return tuple(found)


def dataclass_in(types: Types) -> type | None:
    """Return the dataclass whose fields a mapping may give, if there is one."""
    return next((h for h in types if isinstance(h, type) and dataclasses.is_dataclass(h)), None)


def fits(found: Any, types: Types) -> bool:
    """Tell whether a class or function is what one of some types wants."""
    return any(_fits(found, hint) for hint in types)


def _fits(found: Any, hint: Any) -> bool:
    if hint is _UNKNOWN:
        return True
    origin, arguments = _origin(hint) or hint, get_args(hint)
    if origin is type:
        return inspect.isclass(found) and (not arguments or _is_subclass(found, arguments[0]))
    if not inspect.isclass(found):
        return True  # a function: the parser looks at what it returns
    if origin is not Callable:
        return _is_subclass(found, origin)
    returned = arguments[-1] if arguments else Any
    if _wants_class(returned):
        return _is_subclass(found, returned)
    return any("__call__" in vars(base) for base in found.__mro__)


def _is_subclass(found: type, of: Any) -> bool:
    try:
        return issubclass(found, _origin(of) or of)
    except TypeError:  # it is no class, such as a protocol with attributes
        return True


def shown(types: Types) -> str:
    """Return what is expected, in words.

    Example:
        >>> shown((int, type(None))), shown((Literal["a", "b"],))
        ('int', "'a' or 'b'")
    """
    names: list[str] = []
    for hint in types:
        arguments = get_args(hint)
        if _origin(hint) is Literal:
            names += map(repr, arguments)
        elif _origin(hint) in (type, Callable) and arguments and _wants_class(arguments[-1]):
            names.append(f"a class of {getattr(arguments[-1], '__name__', arguments[-1])}")
        elif _origin(hint) is Callable:
            names.append("a class whose objects are called")
        elif hint is _UNKNOWN or hint is Any:
            names.append("a value")
        elif hint is not NoneType:
            names.append(getattr(hint, "__name__", str(hint)))
    return " or ".join(dict.fromkeys(names)) or "null"
