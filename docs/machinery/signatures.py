"""Signatures as they are written in the source, with short types and named defaults."""

import ast
import inspect
import textwrap
from typing import Any


def signature(value: Any) -> tuple[str, str | None] | None:
    """Return arguments and result of a function or class, or None if there is no source for them.

    Example:
        >>> from ppvae.engine import log_mean_exp
        >>> signature(log_mean_exp)
        ('(log_weights: Tensor)', 'tuple[Tensor, Tensor]')
    """
    try:
        node = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    except (TypeError, OSError, SyntaxError, IndexError):
        return None
    if isinstance(node, ast.FunctionDef):
        return _of_function(node)
    if not isinstance(node, ast.ClassDef):
        return None
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _of_function(statement)[0], None
    fields = [
        statement
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and not _is_class_variable(statement)
    ]
    bases = [ast.unparse(base) for base in node.bases]
    plain = any("dataclass" in ast.unparse(d) for d in node.decorator_list) and not bases
    if not (plain or bases == ["NamedTuple"]):
        return None
    return "(" + ", ".join(map(_field, fields)) + ")", None


def _of_function(node: ast.FunctionDef) -> tuple[str, str | None]:
    arguments = node.args
    kept = arguments.posonlyargs or arguments.args
    static = any(ast.unparse(decorator) == "staticmethod" for decorator in node.decorator_list)
    if kept and kept[0].arg in ("self", "cls") and not static:
        del kept[0]
    result = ast.unparse(node.returns) if node.returns else None
    return f"({ast.unparse(arguments)})", None if result == "None" else result


def _is_class_variable(field: ast.AnnAssign) -> bool:
    return "ClassVar" in ast.unparse(field.annotation)


def _field(field: ast.AnnAssign) -> str:
    text = f"{ast.unparse(field.target)}: {ast.unparse(field.annotation)}"
    if field.value is None:
        return text
    default = ast.unparse(field.value)
    return f"{text} = {'...' if default.startswith('field(') else default}"
