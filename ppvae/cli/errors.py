"""Turns what went wrong on the command line into one sentence."""

import re
import sys


def complain(message: str, code: int = 2) -> int:
    """Print one line of complaint and return the exit code."""
    print(f"ppvae: error: {' '.join(message.split())}", file=sys.stderr)
    return code


def of_os(error: OSError) -> str:
    """Say what the system refused, and for which file."""
    if error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def of_parser(message: str) -> str:
    """Make one sentence of jsonargparse's paragraphs: the option and what is wrong with it."""
    keys = ".".join(dict.fromkeys(re.findall(r'Parser key "([^"]+)"', message)))
    given = re.search(r"(?:Given|Got) value: ([^\n]*?)\.?(?: Got value:.*)?$", message, re.M)
    lines = [line.strip(" -") for line in message.splitlines()]
    skipped = ("Does not validate", "Subtypes:", "Errors:", "Given value", 'in "<unicode string>')
    telling = [
        line
        for line in lines
        if line and "NoneType" not in line and not line.startswith(skipped) and line[-1] != ":"
    ] or lines
    # Of the types that an option may have, the one that was begun tells more than the others.
    what = min(telling, key=lambda line: line.startswith(("Expected a <", "Expected a dot")))
    for pattern, plain in (
        (r'^Parser key "[^"]+": ', ""),
        (r"<class '([^']+)'>", r"\1"),
        (r"^Type .* expects a function or a callable class: ", ""),
        (r"\.? Got value: .*$", ""),
        (r"arguments are required: (fit|diagnose|sample)\.", "arguments are required: "),
        (r"^Expected an? typing\.Literal\[(.*)\]", r"expected one of \1"),
        (r"^Expected a dot import path string: (.*)", r"no class named \1 fits here"),
        (r"^Expected an? (\w+)$", r"expected a value of type \1"),
    ):
        what = re.sub(pattern, plain, what)
    got = given[1] if given and "Namespace(" not in given[1] else ""
    got = f", got {got}" if got and not re.search(rf"(?<!\w){re.escape(got)}(?!\w)", what) else ""
    return f"{f'--{keys}: ' if keys else ''}{' '.join(what.split())}{got}"
