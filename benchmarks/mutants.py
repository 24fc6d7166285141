"""Change the library at random, one place at a time, and see whether the tests notice.

    python -m benchmarks.mutants                             # 60 mutants of each module
    python -m benchmarks.mutants --module samplers --n 200
    python -m benchmarks.mutants --n 0                       # all there are, as in the nightly run

The operators are those of cosmic-ray (`pip install cosmic-ray`) that keep a program plausible: one arithmetic operator for
another, one comparison for another, a number one more or less, and/or, True/False, a sign, a `not`, a loop that does not
run. Changes of annotations and of texts are no mutants. The killers are the tests of the module and those of truth; a test
that hangs for longer than the limit counts as red. The seeded mistakes of tests/test_mutants.py are apart from these.
"""

import argparse
import ast
import difflib
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmarks.reliability import count_tests, row
from diffbook.training import write_file
from tests.test_mutants import verdict

ROOT = Path(__file__).parent.parent
KILLERS = {  # module -> the tests that have to notice, the quick ones first
    'schedules': ('test_schedules.py', 'test_truth.py', 'test_bad_input.py', 'test_samplers.py'),
    'samplers': ('test_samplers.py', 'test_truth.py', 'test_bad_input.py', 'test_cli.py'),
    'losses': ('test_losses.py', 'test_truth.py', 'test_bad_input.py', 'test_conditioning.py'),
    'training': ('test_training.py', 'test_reliability.py', 'test_bad_input.py'),
}
ARITHMETIC = ('Add', 'Sub', 'Mul', 'Div', 'Pow')
PLAIN = ('AddNot', 'ReplaceTrueWithFalse', 'ReplaceFalseWithTrue', 'ReplaceAndWithOr', 'ReplaceOrWithAnd', 'NumberReplacer', 'ZeroIterationForLoop')


def operators() -> list:
    "The operators of cosmic-ray that keep a program plausible."
    from cosmic_ray.operators.provider import _OPERATORS

    binary = {f'ReplaceBinaryOperator_{a}_{b}' for a in ARITHMETIC for b in ARITHMETIC}
    wanted = lambda name: name in binary or name in PLAIN or name.startswith(('ReplaceComparisonOperator', 'ReplaceUnaryOperator'))  # noqa: E731
    return [operator() for name, operator in sorted(_OPERATORS.items()) if wanted(name)]


class Bare(ast.NodeTransformer):
    "Take away what is no part of the computation: annotations, and texts but for single words."

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        return ast.Raise(ast.Name(node.exc.func.id) if isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name) else node.exc)


def bare(source: str) -> str:
    return ast.dump(Bare().visit(ast.parse(source)))


def mutants(source: str, seed: object) -> Iterator[str]:
    "Sources that differ from this one in one place, in an order drawn at random."
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import MutationVisitor

    nodes, own = list(ast_nodes(get_ast(source))), bare(source)
    places = [(op, k) for op in operators() for k in range(sum(len(list(op.mutation_positions(node))) for node in nodes))]
    random.Random(seed).shuffle(places)
    for operator, occurrence in places:
        try:
            mutant = MutationVisitor.mutate_code(source, operator, occurrence)
            if bare(mutant) != own:
                yield mutant
        except SyntaxError:
            pass


def change(source: str, mutant: str) -> str:
    "The lines that differ."
    lines = difflib.unified_diff(source.splitlines(), mutant.splitlines(), n=0, lineterm='')
    return '\n'.join(line for line in lines if not line.startswith(('---', '+++')))


def judge(module: str, n: int, seed: int, limit: float) -> dict:
    "Try mutants of one module."
    from tqdm import tqdm

    folder = Path(tempfile.mkdtemp())
    shutil.copytree(ROOT / 'diffbook', folder / 'diffbook', ignore=shutil.ignore_patterns('__pycache__'))
    path = folder / 'diffbook' / f'{module}.py'
    source = path.read_text(encoding='utf-8')
    tests = tuple(t for t in KILLERS[module] if (ROOT / 'tests' / t).exists())
    begun = time.monotonic()
    if verdict(folder, tests, folder / 'log', 20 * limit):
        raise RuntimeError(f'the tests of {module} fail without a mutant:\n' + (folder / 'log').read_text(errors='replace')[-2000:])
    limit = max(limit, 5 * (time.monotonic() - begun))
    some = list(islice(mutants(source, f'{seed} {module}'), n or None))
    counts, alive = {'killed': 0, 'survived': 0, 'hung': 0}, []
    for mutant in (bar := tqdm(some, desc=module, unit='mutant', disable=False)):
        path.write_text(mutant, encoding='utf-8')
        code = verdict(folder, tests, folder / 'log', limit)
        counts[said := {0: 'survived', -signal.SIGKILL: 'hung'}.get(code, 'killed')] += 1
        if said == 'survived':
            alive.append(change(source, mutant))
        bar.set_postfix(counts)
    shutil.rmtree(folder)
    red = counts['killed'] + counts['hung']
    return {'tried': len(some), **counts, 'share killed': round(red / len(some), 4), 'tests': list(tests), 'survivors': alive}


@row('G13', 'the tests can fail', goal='60 of 60 seeded mistakes and 90 % of random changes noticed')
def g13(short: bool, seed: int) -> dict:
    "Make each mistake of the museum in a copy of the library and run the test that is named beside it; then change schedules, samplers, losses and checkpoints at random, ten times each, one place at a time, and run their tests (the nightly run: 300 times each)."
    seeded = count_tests('tests/test_mutants.py', 'killed and (noise or sign)' if short else 'test_mutant_is_killed')
    parts = {module: judge(module, 2 if short else 10, seed, 60) for module in (('losses',) if short else KILLERS)}
    tried, noticed = (sum(sum(part[k] for k in keys) for part in parts.values()) for keys in (('tried',), ('killed', 'hung')))
    return {
        'figure': f'{seeded["figure"]} seeded, {noticed} of {tried} drawn', 'met': seeded['met'] and noticed >= 0.9 * tried, 'n': seeded['n'] + tried,
        'seeded': seeded, 'parts': parts,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--module', nargs='+', choices=KILLERS, default=list(KILLERS))
    parser.add_argument('--n', type=int, default=60, help='mutants of each module; 0: all')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--least', type=float, help='end with 1 if a smaller share is noticed')
    parser.add_argument('--limit', type=float, default=60, help='seconds until a test counts as hanging, at least')
    parser.add_argument('--out', type=Path, default=ROOT / 'benchmarks' / 'results' / 'mutants.json')
    a = parser.parse_args()
    import hypothesis  # noqa: F401  loaded once, before the forks
    import scipy.stats  # noqa: F401
    import torch

    torch.set_num_threads(1)
    report = json.loads(a.out.read_text()) if a.out.exists() else {}
    for module in a.module:
        report[module] = {'command': f'python -m benchmarks.mutants --module {module} --n {a.n} --seed {a.seed}', **judge(module, a.n, a.seed, a.limit)}
        print(module, {k: v for k, v in report[module].items() if k not in ('survivors', 'tests', 'command')}, flush=True)
        write_file(a.out, (json.dumps(report, indent=1) + '\n').encode())
    return int(a.least is not None and any(report[module]['share killed'] < a.least for module in a.module))


if __name__ == '__main__':
    sys.exit(main())
