"""The house: what is packed, what agrees with what, and that the collector, the processors and the scripts do their work."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import conftest
from tools import book as rules
from tools import lock

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
SETTINGS = configparser.ConfigParser(delimiters=['='])
SETTINGS.read(ROOT / 'settings.ini', encoding='utf-8')
CFG = SETTINGS['DEFAULT']
PYPROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))
MAKEFILE = (ROOT / 'Makefile').read_text(encoding='utf-8')
PYTHONS = ['3.10', '3.11', '3.12', '3.13']
TARGETS = set(re.findall(r'^([a-z][\w-]*)(?=[^=\n]*:(?!=))', MAKEFILE, re.M))


def read(name):
    return (ROOT / name).read_text(encoding='utf-8')


# What agrees with what


def test_nbdev_3_reads_the_same_settings():
    "settings.ini is for nbdev 2, the table in pyproject.toml for nbdev 3."
    table = PYPROJECT['tool']['nbdev']
    assert len(table) >= 8
    for key, value in table.items():
        told = CFG[key]
        assert (told.lower() == 'true') is value if isinstance(value, bool) else told == value, key


def test_the_version_is_the_same_everywhere():
    version = CFG['version']
    assert f'__version__ = "{version}"' in read('diffbook/__init__.py')
    assert yaml.safe_load(read('CITATION.cff'))['version'] == version
    assert f'## {version}' in read('CHANGELOG.md')


def test_lint():
    for words in (['check', '--output-format=concise'], ['format', '--check']):
        done = subprocess.run([sys.executable, '-m', 'ruff', *words, '--no-cache', '.'], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_python_versions_agree():
    assert PYPROJECT['tool']['ruff']['target-version'] == 'py' + CFG['min_python'].replace('.', '')
    jobs = yaml.safe_load(read('.github/workflows/test.yml'))['jobs']
    assert jobs['test']['strategy']['matrix']['python'] == PYTHONS
    assert PYTHONS[0] == CFG['min_python']


# The exact versions


def locked(python='3.12', system='linux', machine='x86_64', name='requirements.lock'):
    "What the file gives one Python on one system."
    words = {'python_version': python, 'python_full_version': f'{python}.9', 'sys_platform': system, 'platform_machine': machine,
             'os_name': 'nt' if system == 'win32' else 'posix', 'implementation_name': 'cpython'}  # fmt: skip
    lines = [line for line in read(name).splitlines() if not line.startswith('#')]
    return [r for r in map(Requirement, lines) if r.marker is None or r.marker.evaluate(words)]


def test_the_lock_holds_names_versions_and_markers_and_nothing_else():
    "No address, no path, no hash: any index that has the versions serves."
    for line in read('requirements.lock').splitlines()[1:]:
        assert re.fullmatch(r"[a-z][a-z0-9-]*==[\w.]+( ; [\w.'<>=!() *]+)?", line), line


@pytest.mark.parametrize('system', ['linux', 'darwin', 'win32'])
@pytest.mark.parametrize('python', PYTHONS)
def test_the_lock_names_one_version_of_every_requirement_within_what_settings_claim(python, system):
    found = locked(python, system)
    versions = {r.name: str(r.specifier).removeprefix('==') for r in found}
    assert len(versions) == len(found)
    for key in ('requirements', 'hub_requirements', 'scale_requirements', 'parity_requirements', 'dev_requirements', 'web_requirements'):
        for claim in map(Requirement, shlex.split(CFG[key])):
            if claim.marker is None or claim.marker.evaluate({'python_version': python}):
                assert claim.specifier.contains(versions[claim.name.replace('_', '-')]), claim


def test_what_the_library_needs_has_a_floor_that_is_tested():
    "The oldest versions are the floors of settings.ini; the scheduled run installs them."
    claims = lock.wanted(*lock.LIBRARY)
    assert len(claims) > 15 and all('>=' in claim for claim in claims)
    floors = {r.name: r.specifier for r in map(Requirement, lock.oldest(claims))}
    assert floors == {r.name: SpecifierSet(f'=={next(iter(r.specifier)).version}') for r in map(Requirement, claims)}
    jobs = yaml.safe_load(read('.github/workflows/versions.yml'))['jobs']
    newest, oldest = ([step.get('run', '') for step in jobs[name]['steps']] for name in ('newest', 'oldest'))
    assert 'make test LOCK=' in newest and oldest[-2] == 'make lock ARGS="--oldest --out oldest.lock"' and 'make test LOCK=oldest.lock ' in oldest[-1]


@pytest.mark.parametrize('name', ['README.md', 'CONTRIBUTING.md', '.ci/run', *(f'.github/workflows/{n}.yml' for n in ('test', 'site', 'nightly', 'versions'))])
def test_commands_in_the_documents_exist(name):
    "`make x` is a target, `tools/x` and `.ci/run` are files."
    text = read(name)
    for target in re.findall(r'(?:^|[`&;] ?|run: )make ([a-z]+)\b', text, re.M):
        assert target in TARGETS, f'{name} says make {target}'
    for path in re.findall(r'\b((?:tools|\.ci)/[\w./-]*\w)', text):
        assert (ROOT / path).exists(), f'{name} names {path}'


def test_readme_shows_the_two_commands():
    for command in ('make demo', 'make test'):
        assert command in read('README.md')
        assert command.split()[1] in TARGETS
    assert 'make test' in read('.ci/run')


def test_readme_code_runs():
    "The Python of the README, from top to bottom."
    code = '\n'.join(rules.PYTHON.findall(read('README.md')))
    assert code.count('import') > 3
    exec(compile(code, 'README.md', 'exec'), {'__name__': 'readme'})


def test_llms_txt_names_every_taught_chapter():
    named = re.findall(r'diffbook/(\w+)\.html', read('nbs/llms.txt'))
    taught = [p.stem[3:] for p in sorted((ROOT / 'nbs').glob('[0-9][0-9]_*.*')) if p.suffix in ('.ipynb', '.qmd') and p.stem >= '07']
    assert [n for n in named if n != 'core'] == taught


def test_every_target_is_explained_and_phony():
    explained = set(re.findall(r'^([a-z-]+):.*## ', MAKEFILE, re.M))
    phony = set(re.search(r'^\.PHONY: (.*)$', MAKEFILE, re.M)[1].split())
    assert explained == phony
    assert {'demo', 'test', 'export', 'notebooks', 'lint', 'site', 'bench', 'clean', 'help'} <= explained


def test_the_site_has_every_chapter_once():
    site = yaml.safe_load(read('_quarto.yml'))
    listed = [c for part in site['book']['chapters'] if isinstance(part, dict) for c in part['chapters']]
    there = [p.name for p in (ROOT / 'nbs').glob('[0-9][0-9]_*.*') if p.suffix in ('.ipynb', '.qmd')]
    assert listed == sorted(there, key=lambda name: (name < '07', name))  # the tools last
    assert site['book']['repo-url'] == CFG['git_url']
    assert site['book']['site-url'] == CFG['doc_host'] + CFG['doc_baseurl']
    assert site['project']['output-dir'] == CFG['doc_path']
    generated = yaml.safe_load(read('nbs/nbdev.yml'))  # written by nbdev from settings.ini
    assert generated['website']['site-url'] == site['book']['site-url']
    assert yaml.safe_load(read('nbs/_quarto.yml')) == {'metadata-files': ['../_quarto.yml', 'nbdev.yml']}


def test_licence_is_apache():
    assert CFG['license_expression'] == yaml.safe_load(read('CITATION.cff'))['license'] == 'Apache-2.0'
    assert re.search(r'Apache License\s+Version 2\.0, January 2004', read('LICENSE'))


def test_no_file_names_the_machine_it_was_made_on():
    names = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True).stdout.split('\0')
    if names == ['']:
        pytest.skip('not a git checkout')
    for name in filter(None, names):
        path = ROOT / name
        if path.suffix in (
            '.ipynb',
            '.py',
            '.md',
            '.json',
            '.yml',
            '.toml',
            '.ini',
            '.sh',
            '.log',
        ) and path.name not in ('test_book.py',):
            found = re.search(r'(?<![\w.}])/(?:home|root|work|Users)/[a-z]\w*/', path.read_text(encoding='utf-8'))
            assert not found, f'{name}: {found[0]}'


# What is packed


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
    "Build the source archive and the wheel from a copy of the tracked files."
    folder = tmp_path_factory.mktemp('build')
    source = folder / 'source'
    keep = shutil.ignore_patterns(
        '.git',
        '.venv',
        '_docs',
        '_proc',
        'out',
        'dist',
        'build',
        '*.egg-info',
        '__pycache__',
        '.*_cache',
        '.hypothesis',
    )
    shutil.copytree(ROOT, source, ignore=keep)
    for kind in ('sdist', 'bdist_wheel'):
        call = [sys.executable, 'setup.py', '-q', kind, '--dist-dir', str(folder / 'dist')]
        done = subprocess.run(call, cwd=source, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    (sdist,), (wheel,) = (folder / 'dist').glob('*.tar.gz'), (folder / 'dist').glob('*.whl')
    return SimpleNamespace(sdist=sdist, wheel=wheel)


def test_wheel_holds_the_library_and_nothing_else(archives):
    with zipfile.ZipFile(archives.wheel) as wheel:
        names = {n for n in wheel.namelist() if '.dist-info/' not in n}
        metadata = next(wheel.read(n).decode() for n in wheel.namelist() if n.endswith('METADATA'))
        entries = next(wheel.read(n).decode() for n in wheel.namelist() if n.endswith('entry_points.txt'))
    tree = {p.relative_to(ROOT).as_posix() for p in (ROOT / 'diffbook').rglob('*') if p.is_file() and '__pycache__' not in p.parts}
    assert names == tree
    assert any(n.startswith('diffbook/zoo/') and n.endswith('.safetensors') for n in names)
    assert 'diffbook/py.typed' in names
    assert 'diffbook = diffbook.cli:main' in entries
    for requirement in shlex.split(CFG['requirements']):
        assert f'Requires-Dist: {requirement.split(">")[0]}' in metadata
    assert not re.search(r'^Requires-Dist: nbdev(?!.*extra)', metadata, re.M)
    assert archives.wheel.stat().st_size < 40_000_000  # with the models that are still to come


def test_sdist_can_build_and_holds_the_book(archives):
    with tarfile.open(archives.sdist) as sdist:
        names = {n.partition('/')[2] for n in sdist.getnames()}
    for name in (
        'settings.ini',
        'setup.py',
        'pyproject.toml',
        'README.md',
        'LICENSE',
        'conftest.py',
        'Makefile',
        'requirements.lock',
        '_quarto.yml',
        'nbs/12_schedules.ipynb',
        'nbs/references.bib',
        'tests/test_house.py',
        'tools/notebooks.py',
        'diffbook/core.py',
    ):
        assert name in names, f'{name} is missing from the source archive'
    assert not [n for n in names if '__pycache__' in n or n.startswith(('.venv', '_docs', 'out/'))]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_chapters_run_from_the_wheel_without_nbdev(archives, tmp_path):
    "The environment of this test lends its libraries, with nbdev blocked and the checkout out of reach."
    library = tmp_path / 'library'
    with zipfile.ZipFile(archives.wheel) as wheel:
        wheel.extractall(library)
    (library / 'nbdev.py').write_text("raise ImportError('nbdev is not needed to read the book')\n")
    shutil.copytree(ROOT / 'nbs', tmp_path / 'nbs')
    shutil.copytree(ROOT / 'tools', tmp_path / 'tools')
    environment = {**os.environ, 'PYTHONPATH': str(library)}
    where = 'import diffbook; print(diffbook.__file__)'
    found = subprocess.run([sys.executable, '-c', where], cwd=tmp_path, env=environment, capture_output=True, text=True).stdout
    assert found.startswith(str(library))
    subprocess.run([sys.executable, 'tools/notebooks.py'], cwd=tmp_path, env=environment, check=True, stdin=subprocess.DEVNULL)


# The collector


def notebook(path, *sources):
    cells = [{'cell_type': 'markdown', 'id': 'title', 'metadata': {}, 'source': '# T\n\n> t'}]
    cells += [{'cell_type': 'code', 'id': f'cell-{i}', 'metadata': {}, 'source': s, 'outputs': [], 'execution_count': None} for i, s in enumerate(sources)]
    path.write_text(json.dumps({'cells': cells, 'metadata': {}, 'nbformat': 4, 'nbformat_minor': 5}), encoding='utf-8')
    return path


def test_failing_cell_is_shown_with_its_id_and_source(tmp_path):
    path = notebook(tmp_path / '12_bad.ipynb', 'x = 1', '#| export\ny = x + 1\nassert y == 3, "two is not three"', 'raise KeyError')
    with pytest.raises(conftest.CellError) as error:
        conftest.run_notebook(path)
    message = str(error.value)
    for words in ('12_bad.ipynb', 'cell cell-1', 'AssertionError: two is not three', 'y = x + 1'):
        assert words in message
    assert 'KeyError' not in message


def test_cell_that_does_not_parse_is_shown(tmp_path):
    with pytest.raises(conftest.CellError, match='cell cell-0.*SyntaxError'):
        conftest.run_notebook(notebook(tmp_path / '12_bad.ipynb', 'x ='))


def test_directives_and_surroundings(tmp_path):
    "Slow cells wait for --slow; cells run in the chapter's folder; global state comes back."
    import torch

    path = notebook(
        tmp_path / '12_good.ipynb',
        "import os, pathlib, torch\nassert os.environ['IN_TEST'] == '1'\nassert pathlib.Path('12_good.ipynb').exists()",
        '#| eval: false\nraise ValueError',
        '#| notest\nraise ValueError',
        "#| slow\npathlib.Path('slow').touch()",
        "torch.set_default_dtype(torch.float64)\nos.environ['LEFT_BEHIND'] = '1'\npathlib.Path('drawn').write_text(str(torch.rand(1).item()))",
    )
    conftest.run_notebook(path)
    first = (tmp_path / 'drawn').read_text()
    assert not (tmp_path / 'slow').exists()
    assert torch.get_default_dtype() == torch.float32
    assert 'LEFT_BEHIND' not in os.environ
    conftest.run_notebook(path, slow=True)
    assert (tmp_path / 'slow').exists()
    assert (tmp_path / 'drawn').read_text() == first


@pytest.mark.parametrize('kind', ['UserWarning', 'DeprecationWarning', 'RuntimeWarning'])
def test_a_warning_in_a_cell_fails(tmp_path, kind):
    path = notebook(tmp_path / '12_loud.ipynb', f"import warnings\nwarnings.warn('careful', {kind})")
    with warnings.catch_warnings(), pytest.raises(conftest.CellError, match=f'12_loud.ipynb, cell cell-0 .*{kind}: careful'):
        warnings.filterwarnings('error', 'careful')  # as pyproject.toml says, and a command line may not
        conftest.run_notebook(path)


def report(name, outcome='passed', when='call', reason=None):
    return SimpleNamespace(nodeid=name, outcome=outcome, when=when, longrepr=('file', 1, f'Skipped: {reason}') if reason else None)


def test_functions_and_cases_are_counted_and_want_of_data_is_told():
    "A case counts once, however its parts end; what was skipped does not count, and for want of data it is said."
    stats = {
        'passed': [report(f'a.py::test_x[{i}/]') for i in range(1500)] + [report('nbs/12_a.ipynb::run'), report('a.py::test_x[7/]')],
        'failed': [report('a.py::test_y', 'failed')],
        'error': [report('a.py::test_z', 'failed', 'setup')],
        'xfailed': [report('a.py::test_w[a]', 'skipped')],
    }
    assert conftest.counted(stats) == '4 functions, 1,503 cases'
    skipped = [report('a.py::test_v', 'skipped', 'setup', reason) for reason in ('without data: emoji', 'runs with --slow', 'without data: FashionMNIST')]
    assert conftest.counted(stats | {'skipped': skipped}) == '4 functions, 1,503 cases; skipped without data: 2, set DIFFBOOK_DATA'
    assert conftest.counted({}) == '0 functions, 0 cases'


@pytest.mark.parametrize(
    'where, told, want',
    [
        ('shared/data/emoji', None, 'shared/data'),
        ('data/clip-bpe', None, 'data'),
        ('checkout/data/model-configs', None, 'checkout/data'),
        ('shared/data/something', None, None),
        ('data/emoji', 'elsewhere', 'elsewhere'),
    ],
)
def test_data_beside_the_checkout_are_found(tmp_path, where, told, want):
    "What is said in DIFFBOOK_DATA comes first; a folder without any known data is another's."
    (tmp_path / where).mkdir(parents=True)
    (tmp_path / 'checkout').mkdir(exist_ok=True)
    shutil.copy(ROOT / 'conftest.py', tmp_path / 'checkout')
    env = {k: v for k, v in os.environ.items() if k != 'DIFFBOOK_DATA'} | ({'DIFFBOOK_DATA': told} if told else {})
    ask = "import conftest, os; print(os.environ.get('DIFFBOOK_DATA'))"
    env['PYTHONPATH'] = str(tmp_path / 'checkout')
    said = subprocess.run([sys.executable, '-c', ask], cwd=tmp_path / 'checkout', env=env, capture_output=True, text=True, check=True).stdout.strip()
    assert said == str(want if told or want is None else tmp_path / want)


def test_a_seed_is_an_order_of_all_tests():
    "Another seed, another order of the files and of the tests in them; the same seed, the same; and a file stays together."
    items = [SimpleNamespace(path=f'file {i // 9}', name=i) for i in range(63)]
    one, again, two = (conftest.shuffled(items, seed) for seed in (1, 1, 2))
    assert one == again != two and sorted(i.name for i in one) == sorted(i.name for i in two) == list(range(63))
    for order in (one, two):
        paths = [item.path for item in order]
        assert len([1 for a, b in zip(paths, paths[1:]) if a != b]) == 6 and paths != sorted(paths)
        assert all([i.name for i in order if i.path == path] != [i.name for i in items if i.path == path] for path in paths)


def test_every_chapter_is_collected():
    names = [p.name for p in (ROOT / 'nbs').glob('*.ipynb') if re.match(r'\d\d_', p.name)]
    call = [sys.executable, '-m', 'pytest', '--collect-only', '-q', 'nbs', '-p', 'no:xdist']
    out = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    assert names
    assert [n for n in names if f'nbs/{n}::run' not in out] == []


# The scripts


def script(*command, path, **environment):
    env = {'PATH': path, 'HOME': os.environ.get('HOME', '/'), **environment}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def tools_only(tmp_path):
    "A PATH with nothing but the ordinary tools of a shell."
    folder = tmp_path / 'bin'
    folder.mkdir()
    for name in ('sh', 'cat', 'rm', 'touch', 'mkdir', 'uname'):
        (folder / name).symlink_to(shutil.which(name))
    return folder


def test_site_without_quarto_says_how_to_get_it(tools_only):
    "nbdev would answer a missing Quarto with sudo; the script must stop before."
    (tools_only / 'nbdev_docs').write_text('#!/bin/sh\necho nbdev was called\n')
    (tools_only / 'nbdev_docs').chmod(0o755)
    done = script('sh', 'tools/build_site.sh', path=str(tools_only))
    assert done.returncode == 1
    assert 'https://quarto.org/docs/get-started/' in done.stderr
    assert 'nbdev was called' not in done.stdout + done.stderr


def fake_python(folder, name, code):
    (folder / name).write_text(f'#!/bin/sh\n{code}\n')
    (folder / name).chmod(0o755)


def test_set_up_names_an_old_python(tools_only, tmp_path):
    fake_python(tools_only, 'python3', 'exit 1')  # answers no to "are you 3.10?"
    done = script('sh', 'tools/setup_venv.sh', str(tmp_path / 'venv'), 'demo', path=str(tools_only))
    assert done.returncode == 1
    assert 'Python 3.10 or newer' in done.stderr


def test_set_up_names_a_missing_venv(tools_only, tmp_path):
    fake_python(tools_only, 'python3', 'case "$2" in venv) mkdir -p "$3"; exit 1;; esac; exit 0')
    done = script('sh', 'tools/setup_venv.sh', str(tmp_path / 'venv'), 'dev', path=str(tools_only))
    assert done.returncode == 1
    assert 'python3-venv' in done.stderr
    assert not (tmp_path / 'venv').exists()


def test_set_up_names_a_missing_lock(tools_only, tmp_path):
    done = script('sh', 'tools/setup_venv.sh', str(tmp_path / 'venv'), 'dev', path=str(tools_only), LOCK='nowhere.lock')
    assert done.returncode == 2 and 'nowhere.lock' in done.stderr and not (tmp_path / 'venv').exists()


@pytest.mark.parametrize(
    'kind, variables, stamps, asked',
    [
        ('demo', {}, {'.ready-demo'}, ['-c requirements.lock setuptools', '-c requirements.lock --no-build-isolation -e .']),
        ('dev', {}, {'.ready-demo', '.ready-dev'}, ['-c requirements.lock setuptools', '-c requirements.lock --no-build-isolation -e .[dev]']),
        ('web', {}, {'.ready-demo', '.ready-dev', '.ready-web'}, ['-c requirements.lock setuptools', '-c requirements.lock --no-build-isolation -e .[dev,web]']),
        ('demo', {'LOCK': ''}, {'.ready-demo'}, ['setuptools', '--no-build-isolation -e .']),
        ('demo', {'LOCK': 'setup.py'}, {'.ready-demo'}, ['-c setup.py setuptools', '-c setup.py --no-build-isolation -e .']),
        ('demo', {'TORCH_INDEX': 'there'}, {'.ready-demo'}, ['-c requirements.lock --no-deps --index-url there torch torchvision',
                                                             '-c requirements.lock setuptools', '-c requirements.lock --no-build-isolation -e .']),
    ],
)  # fmt: skip
def test_set_up_installs_the_locked_versions_once_and_stamps(tools_only, tmp_path, kind, variables, stamps, asked):
    venv, log = tmp_path / 'venv', tmp_path / 'log'
    inner = f'case "$2" in pip) echo "$@" >> {log};; esac'
    make = f'mkdir -p "$3/bin"; printf \'#!/bin/sh\\n{inner}\\n\' > "$3/bin/python"; /bin/chmod +x "$3/bin/python"'
    fake_python(tools_only, 'python3', f'case "$2" in venv) {make};; esac; exit 0')
    done = script('sh', 'tools/setup_venv.sh', str(venv), kind, path=str(tools_only), **variables)
    assert done.returncode == 0, done.stderr
    common = '-m pip install --quiet --disable-pip-version-check '
    assert log.read_text().splitlines() == [common + words for words in asked]
    assert {p.name for p in venv.glob('.ready-*')} == stamps


# What a reader of the notebooks finds closed

notebooks = pytest.importorskip('tools.notebooks', reason='needs nbclient')


@pytest.mark.parametrize('path', sorted((ROOT / 'nbs').glob('*.ipynb')), ids=lambda p: p.name)
def test_what_the_site_folds_is_closed_in_jupyter_and_colab(path):
    wrong = [c['id'] for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['metadata'] != notebooks.metadata(c)]
    assert not wrong, f'make export closes {", ".join(wrong)}'


@pytest.mark.parametrize('source', ['#| fold\nx = 1', '#| export\n#| fold\nx = 1', '#| code-fold: true\nx = 1', '#| hide\nx = 1', '#| hide'])
def test_a_folded_cell_is_closed(source):
    assert notebooks.metadata({'cell_type': 'code', 'source': source}) == notebooks.CLOSED
    assert notebooks.metadata({'cell_type': 'code', 'source': source.splitlines(True)}) == notebooks.CLOSED
    assert notebooks.metadata({'cell_type': 'markdown', 'source': source}) == {}


@pytest.mark.parametrize('source', ['x = 1\n#| fold', '#| export\nx = 1', '#| folds', '#| code-fold: false\nx = 1', '#| fig-cap: "a #| fold"\nx = 1', ''])
def test_other_cells_stay_open(source):
    assert notebooks.metadata({'cell_type': 'code', 'source': source}) == {}


def test_closing_changes_nothing_else_and_survives_the_cleaner(tmp_path):
    clean = pytest.importorskip('nbdev.clean', reason='needs nbdev')
    path = notebook(tmp_path / '12_word.ipynb', '#| fold\nx = 1', 'x')
    before = json.loads(path.read_text())
    notebooks.close(path)
    after = json.loads(path.read_text())
    assert [c['metadata'] for c in after['cells']] == [{}, notebooks.CLOSED, {}]
    kept = json.loads(path.read_text())
    clean.clean_nb(kept, allowed_cell_metadata_keys=CFG['allowed_cell_metadata_keys'].split())
    assert [c['metadata'] for c in kept['cells']] == [c['metadata'] for c in after['cells']]
    for cell in after['cells']:
        cell['metadata'] = {}
    assert after == before
    opened = path.read_text().replace('#| fold\\n', '')
    path.write_text(opened)
    notebooks.close(path)
    assert [c['metadata'] for c in json.loads(path.read_text())['cells']] == [{}, {}, {}]


# The processors of the site

pages = pytest.importorskip('tools.pages', reason='needs nbdev')


def test_measured_error_stands_beside_its_equation(tmp_path):
    path = notebook(tmp_path / '12_word.ipynb', "check('eq-word-a', 1, 1)", "#| hide\ncheck('eq-word-b', 1, 1)")
    stored = json.loads(path.read_text())
    stored['cells'][1]['outputs'] = [{'output_type': 'stream', 'name': 'stdout', 'text': ['eq-word-a: largest error 3e-16\n']}]
    stored['cells'][2]['outputs'] = [{'output_type': 'stream', 'name': 'stdout', 'text': 'eq-word-b: largest error 0\n'}]
    stored['cells'].append(
        {
            'cell_type': 'markdown',
            'id': 'm',
            'metadata': {},
            'source': 'So\n\n$$\na = b\n$$ {#eq-word-a}\n\nand\n\n$$\nb = c\n$$ {#eq-word-b}\n\nand\n\n$$ d $$ {#eq-word-c}',
        }
    )
    path.write_text(json.dumps(stored))
    text = processed(path)
    assert re.search(r'\{#eq-word-a\}\n\n::: \{\.ledger[^}]*\}\n✓ \[checked: largest error 3e-16\]\(#check-eq-word-a\)\n:::', text)
    assert re.search(r'\{#eq-word-b\}\n\n::: \{\.ledger[^}]*\}\n✓ checked: no difference\n:::', text)  # its cell is not shown
    assert text.count('.ledger') == 2 and text.count('#check-eq-word-a .api-anchor') == 1


def test_what_stands_beside_an_equation_is_not_printed_again():
    said = {'output_type': 'stream', 'name': 'stdout', 'text': ['eq-word-a: largest error 3e-16\n', 'eq-word-b: holds in 40 cases\n']}
    assert pages.without_ledger(said) is None
    more = {**said, 'text': [*said['text'], 'mean 0.3\n']}
    assert pages.without_ledger(more)['text'] == ['mean 0.3\n'] and more['text'] != ['mean 0.3\n']
    picture = {'output_type': 'display_data', 'data': {'image/png': ''}}
    assert pages.without_ledger(picture) is picture


def test_all_that_was_measured_for_a_claim_stands_beside_it_and_its_anchor_once(tmp_path):
    path = notebook(tmp_path / '12_word.ipynb', "claim('claim-word-a', got=1)")
    stored = json.loads(path.read_text())
    said = 'claim-word-a: 0.9 (0.8 to 1), n = 9\nclaim-word-a: 0.9 (0.8 to 1), n = 9\nclaim-word-a: 0.7 (0.6 to 0.8), n = 9\n'
    stored['cells'][1]['outputs'] = [{'output_type': 'stream', 'name': 'stdout', 'text': said}]
    for id, text in {'m': 'High <!-- claim-word-a -->. Low <!-- claim-word-b -->.', 's': 'High <!-- claim-word-a -->.'}.items():
        stored['cells'].append({'cell_type': 'markdown', 'id': id, 'metadata': {}, 'source': text})
    path.write_text(json.dumps(stored))
    text = processed(path)
    both = '[✓ 0.9 (0.8 to 1), n = 9; 0.7 (0.6 to 0.8), n = 9]{.claim'
    assert text.count(both) == 2 and text.count(both + ' #claim-word-a ') == 1
    assert 'Low <!-- claim-word-b -->' in text


def test_chapter_head_and_anchors(tmp_path):
    path = notebook(
        tmp_path / '12_word.ipynb',
        '#| default_exp word',
        '#| export\nimport math',
        '#| export\nclass Net:\n    def forward(self): ...\n    def _own(self): ...\n\ndef heun(x): ...\n\ndef _hidden(): ...',
        '#| hide\nsecret = 1',
        '#| export exercises.c12\nanswer = 42',
    )
    text = processed(path)
    assert '# T {#sec-word}' in text
    assert 'https://colab.research.google.com/github/diffbook/diffbook/blob/main/nbs/12_word.ipynb' in text
    assert 'download="12_word.ipynb" href="#notebook">Download</a>' in text  # tools/web.py knows the path
    assert '[]{#net .api-anchor}[]{#net.forward .api-anchor}[]{#heun .api-anchor}' in text
    assert 'def heun(x)' in text and 'code-fold: true' in text
    for word in ('secret', 'answer', '_hidden .api', 'default_exp'):
        assert word not in text


def test_anchor_of_a_cell_is_never_that_of_a_function(tmp_path):
    path = notebook(tmp_path / '12_word.ipynb', '#| default_exp word', '#| export\nHeun = int\ndef heun(x): ...\ndef images(): ...', 'heun(1)')
    stored = json.loads(path.read_text())
    stored['cells'][-1]['id'] = 'heun'
    stored['cells'].append({'cell_type': 'markdown', 'id': 'i', 'metadata': {}, 'source': '## Images'})
    path.write_text(json.dumps(stored))
    assert 'cell-heun' in (ids := [c.get('id') for c in cells_of(path)]) and 'heun' not in ids
    text = processed(path)
    assert text.count('{#heun ') == 1 and '{#images ' not in text  # Heun and heun share one; a heading makes its own


def test_site_with_an_anchor_in_two_places_is_refused():
    from tools import finish_site

    assert not list(finish_site.problems('x.html', '<p id="a"></p><p class="c" id="b"></p><a data-id="a"></a>'))
    assert list(finish_site.problems('x.html', '<p id="a"></p><p class="c" id="a"></p>')) == ['x.html: more than one place has the anchor a']


def processed(path):
    "All cells of a notebook as the site gets them, in one text."
    return '\n\n'.join(c.source for c in cells_of(path))


def cells_of(path):
    from execnb.nbio import read_nb
    from nbdev.process import NBProcessor
    from nbdev.processors import FilterDefaults

    here = os.getcwd()
    os.chdir(ROOT)
    try:
        nb = read_nb(path)
        NBProcessor(nb=nb, procs=FilterDefaults().procs()).process()
    finally:
        os.chdir(here)
    return nb.cells


def test_the_site_folds_by_its_own_mark(tmp_path):
    path = notebook(tmp_path / '12_word.ipynb', '#| fold\nx = 1')
    notebooks.close(path)
    cells = cells_of(path)
    assert not any(c.get('metadata') for c in cells)
    assert [c.source for c in cells if 'x = 1' in c.source] == ['#| code-fold: true\nx = 1']


def test_site_numbers_are_those_of_the_notebooks():
    from tools import finish_site

    numbers = finish_site.chapter_numbers(['index.qmd', {'part': 'A', 'chapters': ['00_a.ipynb', '12_b.ipynb', '22_c.ipynb', '22_d.ipynb']}])
    assert numbers == {'1': '0', '2': '12', '3': '22a', '4': '22b'}
    page = (
        '<title>2&nbsp; B – x</title><span class="chapter-number">2</span><figcaption>Figure&nbsp;2.1: see</figcaption>'
        '<a href="./d.html#fig-x" class="quarto-xref">Figure&nbsp;<span>4.2</span></a> in 2.1 seconds <a href="#sec-a" class="quarto-xref">'
        'Chapter&nbsp;<span>1</span></a> <a href="b.html" class="quarto-xref"><span>Chapter 2</span></a>'
    )
    assert finish_site.renumber(page, numbers) == (
        '<title>12&nbsp; B – x</title><span class="chapter-number">12</span><figcaption>Figure&nbsp;12.1: see</figcaption>'
        '<a href="./d.html#fig-x" class="quarto-xref">Figure&nbsp;<span>22b.2</span></a> in 2.1 seconds <a href="#sec-a" class="quarto-xref">'
        'Chapter&nbsp;<span>0</span></a> <a href="b.html" class="quarto-xref"><span>Chapter 12</span></a>'
    )


def test_site_puts_equation_numbers_at_the_margin():
    from tools import finish_site

    number = '<mspace width="2.0em"></mspace><mrow><mo stretchy="true" form="prefix">(</mo><mn>2.7</mn><mo stretchy="true" form="postfix">)</mo></mrow>'
    end = '</mrow><annotation encoding="application/x-tex">\na\n\\qquad(2.7)</annotation></semantics></math>'
    page = f'<p><span id="eq-b-a"><math display="block"><semantics><mrow><mi>a</mi><mspace width="2.0em"></mspace><mi>b</mi>{number}{end}</span></p>'
    done = finish_site.renumber(page, {'2': '12'})
    assert 'class="eq-number">(12.7)</span></span></p>' in done
    assert '2.7</mn>' not in done and 'qquad' not in done and '<mi>b</mi></mrow><annotation' in done
    assert list(finish_site.problems('x.html', page)) and not list(finish_site.problems('x.html', done))


def test_site_links_names_to_what_they_mean_on_their_page(tmp_path):
    from tools import finish_site

    def link(target):
        return f'<a href="https://a.org/b/{target}"><code>{target.split("#")[1]}</code></a>'

    anchors = {
        'ledger.html': {'check'},
        'exercise.html': {'check'},
        'plots.html': {'save', 'panels'},
        'training.html': {'ema'},
        'shapes.html': set(),
    }

    def mended(name, target):
        return finish_site.own_links(name, link(target), 'https://a.org/b', anchors)

    assert mended('ledger.html', 'exercise.html#check') == '<a href="#check"><code>check</code></a>'
    assert mended('data.html', 'plots.html#panels') == '<a href="plots.html#panels"><code>panels</code></a>'
    assert mended('training.html', 'plots.html#save') == '<code>save</code>'  # training has a `save` from elsewhere
    assert mended('data.html', 'shapes.html#load') == '<code>load</code>'  # not shown there
    other = link('plots.html#save').replace('a.org', 'c.org')
    assert finish_site.own_links('data.html', other, 'https://a.org/b', anchors) == other
    nested = '<a href="./x.html">[<code>Net</code>](https://a.org/b/x.html#net)</a>'  # nbdev links a name inside a link
    assert finish_site.own_links('data.html', nested, 'https://a.org/b', anchors) == '<a href="./x.html"><code>Net</code></a>'
    assert [*finish_site.problems('x.html', '<p>[word](https://a.org)</p>')] and not [*finish_site.problems('x.html', '<code>[word](https://a.org)</code>')]


def test_site_says_what_a_figure_shows():
    from tools import finish_site

    caption = '<figcaption>\nFigure&nbsp;2.1: The <em>"mean"</em> of <math><mi>x</mi><annotation>x</annotation></math>. Below: more.\n</figcaption>'
    page = f'<figure class="f"><p><img src="a.png" class="img-fluid"></p>{caption}</figure><img src="b.png">'
    done = finish_site.say_what_figures_show(page)
    assert '<img src="a.png" class="img-fluid" alt="Figure 2.1: The &quot;mean&quot; of x."></p>' in done and done.endswith('<img src="b.png">')
    assert finish_site.say_what_figures_show(done) == done


def test_site_centres_the_dot_and_the_tilde():
    from tools import finish_site

    page = finish_site.renumber('<mover><mi>a</mi><mo accent="true">\u0307</mo></mover> e\u0303', {})
    assert page == '<mover><mi>a</mi><mo accent="true">\u02d9</mo></mover> e\u0303'


def test_site_lets_wide_figures_scroll(tmp_path):
    from tools import finish_site

    for name, size in {'wide.png': (900, 300), 'square.png': (300, 300)}.items():
        (tmp_path / name).write_bytes(b'\x89PNG\r\n\x1a\n' + bytes(4) + b'IHDR' + b''.join(v.to_bytes(4, 'big') for v in size))
    wide, square, gone = (f'<img src="{n}.png" class="img-fluid figure-img">' for n in ('wide', 'square', 'gone'))
    page = finish_site.let_wide_figures_scroll(f'<p>{wide}{square}{gone}</p>', tmp_path)
    assert page == f'<p><span class="wide-figure">{wide}</span>{square}{gone}</p>'


FRESH = (
    '<meta name="generator" content="quarto-1.5.57"><title>2&nbsp; B – x</title><span class="chapter-number">2</span>'
    '<figcaption>Figure&nbsp;2.1: see</figcaption><a href="./d.html#fig-x" class="quarto-xref">Figure&nbsp;<span>4.2</span></a>'
)


def test_site_of_another_quarto_is_refused_before_a_page_is_changed():
    from tools import finish_site

    assert not list(finish_site.strange('b.html', FRESH))
    finish_site.refuse_strange({'b.html': FRESH}, ['b.html'])
    for old, new in [
        ('<title>2&nbsp; ', '<title>2. '),
        ('class="chapter-number"', 'class="number-of-chapter"'),
        ('Figure&nbsp;2.1', 'Figure 2.1'),
        ('Figure&nbsp;<span>4.2', 'Fig. <span>4.2'),
        ('<figcaption>', '<p id="eq-b-a"></p><figcaption>'),
    ]:
        page = FRESH.replace(old, new).replace('1.5.57', '1.9.1')
        with pytest.raises(SystemExit, match=r'written for the HTML of Quarto 1.5.57; these pages were made by quarto-1.9.1') as said:
            finish_site.refuse_strange({'b.html': page}, ['b.html'])
        assert 'b.html: ' in str(said.value)
    with pytest.raises(SystemExit, match='b.html is missing'):
        finish_site.refuse_strange({}, ['b.html'])


def test_rules_and_documents_use_the_same_numbers():
    "CONTRIBUTING tells authors what the rules check."
    text = read('CONTRIBUTING.md')
    assert '1,200 to 2,800' in text and '1200 <= ch.words <= 2800' in Path(rules.__file__).read_text(encoding='utf-8')
