"""Plausible changes of a source, one place at a time: what a tired author could have written instead.

    changes('def f(x, n=3):\n    return x[1:n] < 0')      # n=4, n=2, x[2:n], x[0:n], x[1:n - 1], <=, >, ...

A change replaces one stretch of the text, so that the rest keeps its lines, and the cell of a chapter can be changed as
its module is. Annotations, decorators, docstrings and the words of an error are left alone: they are not computed with.
"""

import ast
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

COMPARE = {
    ast.Lt: ('<', '<=', '>'), ast.LtE: ('<=', '<', '>='), ast.Gt: ('>', '>=', '<'), ast.GtE: ('>=', '>', '<='),
    ast.Eq: ('==', '!='), ast.NotEq: ('!=', '=='), ast.Is: ('is', 'is not'), ast.IsNot: ('is not', 'is'),
    ast.In: ('in', 'not in'), ast.NotIn: ('not in', 'in'),
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ('+', '-'), ast.Sub: ('-', '+'), ast.Mult: ('*', '/'), ast.Div: ('/', '*'), ast.Pow: ('**', '*'), ast.FloorDiv: ('//', '/'),
    ast.Mod: ('%', '*'), ast.BitAnd: ('&', '|'), ast.BitOr: ('|', '&'),
}  # fmt: skip
WORDS = {'help', 'desc', 'unit', 'metavar', 'title', 'label', 'encoding'}  # arguments that are read by people, or the default everywhere
RECEIVERS = {'abs', 'clamp', 'clone', 'copy', 'detach', 'double', 'eval', 'exp', 'expanduser', 'flip', 'float', 'log', 'lower', 'resolve', 'round', 'sqrt', 'square', 'strip', 'transpose'}  # fmt: skip


@dataclass(frozen=True)
class Change:
    "One stretch of a source and what stands there instead."

    operator: str
    line: int
    start: int  # of the bytes
    end: int
    new: str

    def apply(self, source: str) -> str:
        data = source.encode()
        return (data[: self.start] + self.new.encode() + data[self.end :]).decode()

    def lines(self, source: str) -> tuple[str, str]:
        "The whole lines that are touched, before and after."
        data = source.encode()
        a, b = data.rfind(b'\n', 0, self.start) + 1, data.find(b'\n', self.end)
        b = len(data) if b < 0 else b
        before, after = data[a : self.start].decode(), data[self.end : b].decode()
        return (before + data[self.start : self.end].decode() + after).strip(), (before + self.new + after).strip()


class Finder(ast.NodeVisitor):
    "Walk a tree and note what could be changed."

    def __init__(self, source: str):
        self.data, self.found = source.encode(), []
        self.begins = [0]
        for line in self.data.splitlines(keepends=True):
            self.begins.append(self.begins[-1] + len(line))

    def span(self, node: ast.AST) -> tuple[int, int]:
        return self.begins[node.lineno - 1] + node.col_offset, self.begins[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.AST) -> str:
        a, b = self.span(node)
        return self.data[a:b].decode()

    def note(self, operator: str, node: ast.AST, new: str, start: int | None = None, end: int | None = None) -> None:
        a, b = self.span(node)
        start, end = a if start is None else start, b if end is None else end
        self.found.append(Change(operator, self.data.count(b'\n', 0, start) + 1, start, end, new))

    def between(self, operator: str, left: ast.AST, right: ast.AST, old: str, *news: str) -> None:
        "Change the sign that stands between two nodes."
        a, b = self.span(left)[1], self.span(right)[0]
        pattern = r'\s+'.join(re.escape(w) for w in old.split())
        if place := re.search(pattern.encode(), self.data[a:b]):
            for new in news:
                self.note(operator, left, new, a + place.start(), a + place.end())

    # what is not computed with
    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for default in [*node.args.defaults, *(d for d in node.args.kw_defaults if d)]:
            self.visit(default)
        for child in node.body:
            self.visit(child)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for child in node.body:
            self.visit(child)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None: ...

    # statements
    def drop(self, node: ast.stmt) -> None:
        self.note('drop statement', node, 'pass')

    def visit_Raise(self, node: ast.Raise) -> None:
        self.drop(node)

    def visit_Break(self, node: ast.Break) -> None:
        self.drop(node)

    def visit_Continue(self, node: ast.Continue) -> None:
        self.drop(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.drop(node)
            for child in ast.iter_child_nodes(node.value):
                self.visit(child)
            self.leave_out(node.value)
        else:
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(t, ast.Name) and t.id.startswith('__') for t in node.targets):
            return
        if any(isinstance(t, (ast.Attribute, ast.Subscript)) for t in node.targets):
            self.drop(node)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.drop(node)
        if type(node.op) in ARITHMETIC:
            old, new = ARITHMETIC[type(node.op)]
            self.between('arithmetic', node.target, node.value, old + '=', new + '=')
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if isinstance(node.value, ast.BinOp) and isinstance(node.value.op, (ast.Add, ast.Sub, ast.Mult, ast.Div)):
            self.note('sign', node.value, f'-({self.text(node.value)})')
        self.generic_visit(node)

    def negate(self, test: ast.expr) -> None:
        self.note('negation', test, f'not ({self.text(test)})')

    def visit_If(self, node: ast.If | ast.While | ast.IfExp) -> None:
        if self.text(node.test) in ('TYPE_CHECKING', "__name__ == '__main__'"):
            return
        self.negate(node.test)
        self.generic_visit(node)

    visit_While = visit_IfExp = visit_If

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.negate(test)
        self.generic_visit(node)

    # expressions
    def visit_Compare(self, node: ast.Compare) -> None:
        for left, op, right in zip([node.left, *node.comparators[:-1]], node.ops, node.comparators, strict=True):
            old, *news = COMPARE[type(op)]
            self.between('comparison', left, right, old, *news)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        named = lambda side: isinstance(side, ast.Name) and (side.id[0].isupper() or side.id in ('int', 'str', 'float', 'bool', 'list', 'tuple', 'dict'))  # noqa: E731
        types = isinstance(node.op, ast.BitOr) and (named(node.left) or named(node.right))  # int | str
        if type(node.op) in ARITHMETIC and not types and not isinstance(node.left, (ast.JoinedStr,)):
            self.between('arithmetic', node.left, node.right, *ARITHMETIC[type(node.op)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        words = ('and', 'or') if isinstance(node.op, ast.And) else ('or', 'and')
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.between('and/or', left, right, *words)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, (ast.USub, ast.Not)):
            self.note('sign' if isinstance(node.op, ast.USub) else 'negation', node, self.text(node.operand))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.note('constant', node, str(not node.value))
        elif isinstance(node.value, int):
            for new in (node.value + 1, node.value - 1):
                self.note('constant', node, str(new) if new >= 0 else f'({new})')
        elif isinstance(node.value, float):
            for new in {node.value + 1, node.value / 2} - {node.value}:
                self.note('constant', node, repr(new))

    def visit_Slice(self, node: ast.Slice) -> None:
        for part in (node.lower, node.upper):
            if part is not None and not isinstance(part, ast.Constant):
                for sign in '+-':
                    self.note('slice', part, f'{self.text(part)} {sign} 1')
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if node.args and not isinstance(node.args[0], ast.Starred):
            self.note('first argument for call', node, f'({self.text(node.args[0])})')
        if isinstance(node.func, ast.Attribute) and node.func.attr in RECEIVERS and self.text(node.func.value) not in ('torch', 'math', 'np', 'numpy', 'F'):
            self.note('receiver for call', node, self.text(node.func.value))
        self.leave_out(node)
        self.generic_visit(node)

    def leave_out(self, node: ast.Call) -> None:
        "A call without one of its named arguments."
        parts = sorted([*node.args, *node.keywords], key=lambda n: self.span(n)[0])
        for k, part in enumerate(parts):
            if isinstance(part, ast.keyword) and part.arg not in WORDS:
                if k:
                    self.note('leave out argument', part, '', self.span(parts[k - 1])[1])
                else:
                    self.note('leave out argument', part, '', end=self.span(parts[1])[0] if len(parts) > 1 else None)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in WORDS:
            self.generic_visit(node)


def changes(source: str) -> list[Change]:
    "All changes of a source, in the order of the text; some may be no Python or mean the same."
    finder = Finder(source)
    finder.visit(ast.parse(source))
    return sorted(set(finder.found), key=lambda c: (c.start, c.end, c.new, c.operator))


def draw(source: str, seed: object) -> Iterator[Change]:
    "The changes that are Python and mean something else, in an order drawn at random; none twice."
    own, seen, order = ast.dump(ast.parse(source)), set(), changes(source)
    random.Random(str(seed)).shuffle(order)
    for change in order:
        mutant = change.apply(source)
        try:
            other = mutant not in seen and ast.dump(ast.parse(mutant)) != own
        except SyntaxError:
            continue
        seen.add(mutant)
        if other:
            yield change


def functions(source: str) -> Iterator[tuple[int, int]]:
    "First and last line of every function and method that stands in no other, decorators included."
    nodes = list(ast.parse(source).body)
    while nodes:
        node = nodes.pop(0)
        if isinstance(node, ast.FunctionDef):
            yield min([node.lineno, *(d.lineno for d in node.decorator_list)]), node.end_lineno
        elif isinstance(node, (ast.ClassDef, ast.If)):
            nodes += node.body
