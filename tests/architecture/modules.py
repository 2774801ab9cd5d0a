"""What the modules of this repository import."""

import ast
from functools import cache
from pathlib import Path


@cache
def imports(path: Path) -> frozenset[str]:
    """The dotted names that a file imports, wherever in it; of `from a import b`, both `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)
