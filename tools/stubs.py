"""Write the type stubs of the package: what editors, type checkers and tooltips read.

    python tools/stubs.py            # writes diffbook/**/*.pyi
    python tools/stubs.py --check    # ends with 1 if one is out of step

A chapter may write a class in pieces, each method where it is derived (`@patch`). At run time the class is whole; in the
source of the module it is not, and no editor finds its methods. The stub of a module puts every method in its class, and
turns the comment beside each parameter into a line of the docstring, so that a tooltip shows it. `make export` runs this
after `nbdev_export`, which touches no stub; a test holds the two in step. Modules written by hand carry their types
themselves and have none.
"""

import argparse
import ast
import re
import sys
import textwrap
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / 'diffbook'
HEAD = '# Written by tools/stubs.py from the module beside it.\n\n'
Definition = ast.FunctionDef | ast.ClassDef


def patched(node: ast.AST) -> tuple[str, str] | None:
    "The class that a function is put on by a decorator of fastcore, and how: as a method or a property."
    for mark in getattr(node, 'decorator_list', []):
        call = mark if isinstance(mark, ast.Call) else None
        name = getattr(call.func if call else mark, 'id', '')
        options = {k.arg for k in call.keywords if getattr(k.value, 'value', False)} if call else set()
        how = 'property' if 'as_prop' in options else 'classmethod' if 'cls_method' in options else ''
        if name == 'patch' and isinstance(first := node.args.args[0].annotation, ast.Name):
            return first.id, how
        if name == 'patch_to' and isinstance(call.args[0], ast.Name):
            return call.args[0].id, how
    return None


class Stub:
    "The stub of one module."

    def __init__(self, source: str):
        self.lines, self.tree = source.splitlines(), ast.parse(source)
        classes = {node.name for node in self.tree.body if isinstance(node, ast.ClassDef)}
        self.methods: dict[str, list[str]] = {}
        self.moved = []
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef) and (found := patched(node)) and found[0] in classes:
                self.moved.append(node)
                marks = [f'@{found[1]}'] if found[1] else []
                marks += [f'@{ast.unparse(d)}' for d in node.decorator_list if not re.match(r'patch(_to)?\b', ast.unparse(d)) and 'property' in ast.unparse(d)]
                self.methods.setdefault(found[0], []).append(self.function(node, marks, bare=True))

    def parameters(self, node: ast.FunctionDef) -> list[str]:
        "A line for each parameter, and for what is returned, beside which the source has a comment."
        a, said = node.args, []
        last = node.body[0].lineno - 1
        for arg in (*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs, *([a.kwarg] if a.kwarg else [])):
            line = self.lines[arg.end_lineno - 1]
            alone = sum(o.end_lineno == arg.end_lineno for o in (*a.args, *a.kwonlyargs, *a.posonlyargs)) == 1
            if alone and arg.arg != 'self' and node.lineno < arg.lineno <= last and (m := re.search(r'  # (.*)$', line)) and not m[1].startswith('fmt:'):
                said.append(f'{arg.arg}: {m[1]}')
        closing = self.lines[(node.returns.end_lineno if node.returns else node.lineno) - 1]
        if (
            node.returns is not None
            and closing.rstrip().partition('  # ')[0].endswith(':')
            and (m := re.search(r':  # (.*)$', closing))
            and not m[1].startswith('fmt:')
        ):
            said.append(f'returns: {m[1]}')
        return said

    def docstring(self, node: Definition, said: list[str]) -> str:
        text = ast.get_docstring(node) or ''
        text = '\n\n'.join(part for part in (text, '\n'.join(said)) if part)
        if not text:
            return ''
        quoted = text.replace('\\', '\\\\').replace('"""', '\\"\\"\\"')
        return f'"""{quoted}"""' if '\n' not in text else f'"""{quoted}\n"""'

    def function(self, node: ast.FunctionDef, marks: list[str] | None = None, bare: bool = False) -> str:
        marks = [f'@{ast.unparse(d)}' for d in node.decorator_list if kept(d)] if marks is None else marks
        arguments = ast.parse(ast.unparse(node)).body[0].args
        if bare and arguments.args:
            arguments.args[0].annotation = None
        for group in (arguments.defaults, arguments.kw_defaults):
            group[:] = [value and (value if isinstance(value, (ast.Constant, ast.UnaryOp)) else ast.Constant(...)) for value in group]
        returns = f' -> {ast.unparse(node.returns)}' if node.returns else ' -> None' if node.name == '__init__' else ''
        body = self.docstring(node, self.parameters(node))
        head = '\n'.join([*marks, f'def {node.name}({ast.unparse(arguments)}){returns}:'])
        return f'{head}\n{textwrap.indent(body, "    ")}\n    ...' if body else f'{head} ...'

    def attributes(self, node: ast.ClassDef) -> list[str]:
        "What the methods of a class keep in `self`, with the type of the parameter that it comes from."
        own = [n for n in node.body if isinstance(n, ast.FunctionDef)]
        found: dict[str, str] = {}
        for method in [*own, *(n for n in self.moved if patched(n)[0] == node.name)]:
            types = {arg.arg: ast.unparse(arg.annotation) for arg in (*method.args.args, *method.args.kwonlyargs) if arg.annotation}
            for target, value in (pair for statement in ast.walk(method) for pair in pairs(statement)):
                if isinstance(target, ast.Attribute) and getattr(target.value, 'id', '') == 'self':
                    found.setdefault(target.attr, types.get(getattr(value, 'id', ''), made(value)))
        named = {getattr(n, 'name', '') or getattr(getattr(n, 'target', None), 'id', '') for n in node.body}
        named |= {n.name for n in self.moved if patched(n)[0] == node.name}
        return [f'{name}: {kind}' for name, kind in found.items() if name not in named]

    def class_(self, node: ast.ClassDef) -> str:
        marks = [f'@{ast.unparse(d)}' for d in node.decorator_list if kept(d)]
        named = [ast.unparse(b) for b in (*node.bases, *node.keywords)]
        if 'ABC' in named[1:]:  # of a class that leaves methods of another base open, mypy wants to hear it in a stub
            named = [name for name in named if name != 'ABC'] + ['metaclass=ABCMeta']
        bases = ', '.join(named)
        said, body = [], []
        for part in node.body:
            if isinstance(part, ast.FunctionDef):
                body.append(self.function(part))
            elif isinstance(part, ast.AnnAssign):
                m = re.search(r'  # (.*)$', self.lines[part.end_lineno - 1])
                said += [f'{part.target.id}: {m[1]}'] if m and not m[1].startswith('fmt:') else []
                value = part.value and (ast.unparse(part.value) if isinstance(part.value, ast.Constant) else '...')
                body.append(f'{part.target.id}: {ast.unparse(part.annotation)}' + (f' = {value}' if value else ''))
            elif isinstance(part, ast.Assign):
                body.append(self.assignment(part))
        body = [*self.attributes(node), *body, *self.methods.get(node.name, [])]
        doc = self.docstring(node, said)
        inner = '\n'.join([*([doc] if doc else []), *body]) or '...'
        head = '\n'.join([*marks, f'class {node.name}({bases}):' if bases else f'class {node.name}:'])
        return f'{head}\n{textwrap.indent(inner, "    ")}'

    def assignment(self, node: ast.Assign | ast.AnnAssign) -> str:
        if isinstance(node, ast.AnnAssign):
            return f'{ast.unparse(node.target)}: {ast.unparse(node.annotation)}'
        names = [ast.unparse(target) for target in node.targets]
        if names_a_type(node.value) and len(names) == 1:
            return f'{names[0]} = {ast.unparse(node.value)}'
        return '\n'.join(f'{name}: {made(node.value)}' for name in names if name.isidentifier() and name != '__all__')

    def text(self) -> str:
        parts = []
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef) and node not in self.moved and not node.name.startswith('_'):
                parts.append(self.function(node))
            elif isinstance(node, ast.ClassDef):
                parts.append(self.class_(node))
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '__all__':
                parts.append(ast.unparse(node))
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and 'moved(' not in ast.unparse(node):
                parts.append(self.assignment(node))
        body = '\n\n'.join(part for part in parts if part)
        return HEAD + '\n'.join(self.imports(body)) + '\n\n' + body + '\n'

    def imports(self, body: str) -> list[str]:
        "The imports whose names the body of a stub speaks of."
        spoken = {n.id for n in ast.walk(ast.parse(body)) if isinstance(n, ast.Name)}
        spoken |= {
            word
            for n in ast.walk(ast.parse(body))
            if isinstance(n, ast.Constant) and isinstance(n.value, str) and len(n.value) < 80
            for word in re.findall(r'\w+', n.value)
        }
        lines = []
        for node in self.tree.body:
            if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test):
                lines += [ast.unparse(n) for n in node.body]
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [n for n in node.names if (n.asname or n.name).partition('.')[0] in spoken]
                if names:
                    node = ast.parse(ast.unparse(node)).body[0]
                    node.names = names
                    lines.append(ast.unparse(node))
        if 'ABCMeta' in spoken:
            lines.append('from abc import ABCMeta')
        if 'Any' in spoken and not any(re.search(r'^from typing import .*\bAny\b', line) for line in lines):
            lines.append('from typing import Any')
        return lines


def names_a_type(value: ast.expr) -> bool:
    "Whether the right side of an assignment is one that a type checker reads: a name, a subscript, or several with | between."
    if isinstance(value, ast.BinOp):
        sides = (value.left, value.right)
        return isinstance(value.op, ast.BitOr) and all(names_a_type(v) or isinstance(v, ast.Constant) and v.value is None for v in sides)
    return isinstance(value, (ast.Name, ast.Attribute, ast.Subscript))


def kept(mark: ast.expr) -> bool:
    "Whether a decorator changes what a type checker should see."
    return bool(
        re.match(
            r'(property|classmethod|staticmethod|abstractmethod|dataclass|overload|contextmanager|contextlib|cache)\b|\w+\.(setter|contextmanager)',
            ast.unparse(mark),
        )
    )


def pairs(node: ast.AST) -> list[tuple[ast.expr, ast.expr]]:
    "Targets and values of an assignment, taken apart where both are tuples."
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        return [(node.target, node.value)]
    if not isinstance(node, ast.Assign):
        return []
    found = []
    for target in node.targets:
        both = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple) and len(target.elts) == len(node.value.elts)
        found += (
            list(zip(target.elts, node.value.elts))
            if both
            else [(t, ast.Constant(...)) for t in target.elts]
            if isinstance(target, ast.Tuple)
            else [(target, node.value)]
        )
    return found


def made(value: ast.expr) -> str:
    "The type of what an expression makes, where that can be read off it; else Any."
    if isinstance(value, ast.Constant) and value.value is not None and value.value is not ...:
        return type(value.value).__name__
    if isinstance(value, ast.Call) and (name := ast.unparse(value.func)) and re.fullmatch(r'(nn\.|torch\.nn\.)?[A-Z]\w*', name):
        return name
    kinds = {ast.Dict: 'dict[Any, Any]', ast.List: 'list[Any]', ast.Tuple: 'tuple[Any, ...]', ast.Set: 'set[Any]', ast.JoinedStr: 'str'}
    return kinds.get(type(value), 'Any')


def face(source: str) -> str:
    "The stub of the package itself: every promised name, from its module."
    tree = ast.parse(source)
    (table,) = (ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], 'id', '') == 'FACE')
    lines = [f'from diffbook.{module} import {name} as {name}' for module, names in table.items() for name in names.split()]
    return HEAD + '\n'.join([*lines, '', '__version__: str', 'FACE: dict[str, str]', '']) + ''


def stubs() -> dict[Path, str]:
    "Every stub by its path."
    found = {PACKAGE / '__init__.pyi': face((PACKAGE / '__init__.py').read_text(encoding='utf-8'))}
    for path in sorted([*PACKAGE.glob('*.py'), *(PACKAGE / 'nets').glob('*.py')]):
        source = path.read_text(encoding='utf-8')
        if '# AUTOGENERATED! DO NOT EDIT! File to edit: ' in source and path.name != '_modidx.py':
            found[path.with_suffix('.pyi')] = Stub(source).text()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing; end with 1 if a stub is out of step')
    check, wanted, off = parser.parse_args().check, stubs(), []
    there = {p for p in (*PACKAGE.glob('*.pyi'), *(PACKAGE / 'nets').glob('*.pyi'))}
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding='utf-8') != text:
            off.append(path)
            if not check:
                path.write_text(text, encoding='utf-8')
    for path in there - wanted.keys():
        off.append(path)
        if not check:
            path.unlink()
    if check and off:
        sys.exit(f'out of step: {", ".join(str(p.relative_to(PACKAGE.parent)) for p in off)}; run: make export')


if __name__ == '__main__':
    main()
