"""Numbers as a person reads them."""

import math

from ppvae.reports.page.tables import Cell

_MINUS = "\N{MINUS SIGN}"
_SYMBOLS = ("log", "k", "z", "p")


def shown(value: float, digits: int = 2) -> str:
    """Return a number with a true minus sign; an infinite or missing one as a word.

    Example:
        >>> shown(-88.126), shown(float("inf")), shown(float("nan"))
        ('−88.13', 'unbounded', 'unknown')
    """
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "unbounded" if value > 0 else f"{_MINUS}unbounded"
    return f"{value:.{digits}f}".replace("-", _MINUS)


def with_error(value: float, error: float, digits: int = 2) -> str:
    """Return a number and its standard error; an error that is not known is left out.

    Example:
        >>> with_error(-88.126, 1.4)
        '−88.13 ± 1.40'
    """
    known = math.isfinite(error)
    return f"{shown(value, digits)} ± {error:.{digits}f}" if known else shown(value, digits)


def general(value: float) -> str:
    """Return a number of any size with six digits.

    Example:
        >>> general(1065.0), general(-0.5)
        ('1065', '−0.5')
    """
    return f"{value:.6g}".replace("-", _MINUS)


def cell(value: float, digits: int = 2) -> Cell:
    """Return a number as a cell of a table."""
    return Cell(shown(value, digits), None if math.isnan(value) else value)


def percent(share: float) -> str:
    """Return a share in percent; what is not all is not shown as all, nor little as nothing.

    Example:
        >>> percent(0.999), percent(0.001), percent(0.5), percent(1.0)
        ('more than 99 %', 'less than 1 %', '50 %', '100 %')
    """
    if 0.99 < share < 1:
        return "more than 99 %"
    if 0 < share < 0.01:
        return "less than 1 %"
    return f"{100 * share:.0f} %"


def counted(count: int, thing: str, many: str = "") -> str:
    """Return a number of things.

    Example:
        >>> counted(1, "row"), counted(1200, "row"), counted(2, "latent")
        ('1 row', '1,200 rows', '2 latents')
    """
    return f"{count:,} {thing if count == 1 else many or thing + 's'}"


def capital(text: str) -> str:
    """Return a text that begins with a capital letter, unless it begins with a symbol."""
    word = text.split(" ", 1)[0]
    return text if word in _SYMBOLS else f"{text[:1].upper()}{text[1:]}"


def p_value(value: float) -> str:
    """Return a p-value; a tiny one as a bound.

    Example:
        >>> p_value(0.031), p_value(0.0)
        ('p = 0.031', 'p < 0.0001')
    """
    return f"p = {value:.2g}" if value >= 1e-4 else "p < 0.0001"
