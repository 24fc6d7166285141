"""The code that the README shows runs as it stands, and says what is true."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from diffbook.ledger import read_measured, student

ROOT = Path(__file__).parent.parent


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / name).read_text(encoding='utf-8')
    return re.findall(rf'^```{language}\n(.*?)^```$', text, re.S | re.M)


@pytest.fixture(scope='module')
def readme(tmp_path_factory) -> Iterator[dict]:
    "What is defined after the README's Python was run from top to bottom, in a folder of its own."
    namespace: dict = {}
    home = Path.cwd()
    os.chdir(namespace.setdefault('folder', tmp_path_factory.mktemp('readme')))
    for block in blocks('README.md', 'python'):
        exec(compile(block, 'README.md', 'exec'), namespace)
        if 'x' in namespace:
            namespace.setdefault('noise_of_the_mixture', namespace['x'])
    yield namespace
    os.chdir(home)


def test_the_sampler_of_the_readme_is_near_the_exact_flow(readme):
    x0, exact = readme['x0'], readme['law'].flow(readme['schedule'], readme['noise_of_the_mixture'], 1.0, 0.0)
    # Heun's error with 32 steps: below a hundredth of the data's standard deviation, by the measured order 2
    assert (x0 - exact).square().mean().sqrt() < 0.01 * readme['law'].sample(10_000, torch.Generator().manual_seed(0)).std()


def test_the_model_of_the_readme_draws_images(readme):
    garments = readme['garments']
    assert garments.shape == (64, 1, 28, 28)
    from PIL import Image

    with Image.open(readme['folder'] / 'garments.png') as picture:  # eight rows of eight, each pixel as two by two, with gaps
        assert picture.size[0] == picture.size[1] >= 8 * 28 * 2 and picture.getextrema() not in ((0, 0), (255, 255))
    assert garments.abs().max() < 1.5 and garments.amin((1, 2, 3)).max() < -0.8  # every garment has a black ground


PATHS = {  # row of the table of paths -> chapters, of which the first readings count
    'The first evening': (8, 9),
    'The first path': (8, 9, 10, 11, 12, 13, 20, 21, 22, 23, 24, 30, 31, 32, 14),
    'Pictures from words': (*range(40, 47), *range(50, 55)),
    "The researcher's": (*range(33, 40), *range(60, 66)),
}


@pytest.mark.parametrize('path', PATHS)
def test_the_hours_of_a_path_are_those_that_are_counted(path):
    from tools.book import Book, minutes

    counted = sum(minutes(ch.readings[0]) for ch in Book(ROOT / 'nbs').chapters if ch.number in PATHS[path]) / 60
    said = float(re.search(rf'^\| \*\*{path}\*\* .*?([\d.]+) hours', (ROOT / 'README.md').read_text(encoding='utf-8'), re.M)[1])
    assert abs(said - counted) <= 0.5, f'{counted:.1f} hours are counted'


def test_reading_is_counted_as_a_reader_noted_it():
    "Within a twentieth of the least squares fit; the miss that the tool states is the one that there is."
    from tools import reading
    from tools.book import A_LINE, A_MINUTE, AN_EQUATION

    words, equations, lines, noted = torch.tensor(reading.NOTED, dtype=torch.float64).T
    fit = torch.linalg.lstsq(torch.stack([equations, lines], 1), (noted - words / A_MINUTE)[:, None]).solution[:, 0]
    assert torch.allclose(torch.tensor([AN_EQUATION, A_LINE], dtype=torch.float64), fit, rtol=0.05)
    miss = (words / A_MINUTE + AN_EQUATION * equations + A_LINE * lines - noted).abs().mean()
    assert f'misses by {miss:.1f} minutes in the mean' in reading.__doc__


def test_the_first_path_takes_at_most_five_hours():
    from tools.book import Book
    from tools.reading import FIRST, MOST, first_path

    path = first_path(Book(ROOT / 'nbs'))
    assert [ch.number for ch, _ in path] == FIRST and sum(minutes for _, minutes in path) <= MOST == 300


def test_the_readme_shows_three_results_of_the_result_files():
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    row = json.loads((ROOT / 'diffbook/zoo/fashion-mnist/report.json').read_text(encoding='utf-8'))['rows'][0]
    assert f'Fréchet distance of {row["frechet"]:.3f} where real pictures have {row["frechet_floor"]:.3f} (n = {row["n"]:,})' in text
    row = json.loads((ROOT / 'diffbook/zoo/shapes/report.json').read_text(encoding='utf-8'))['rows'][1]
    assert f'right in {row["all"]:.1%} of captions that it never saw (n = {row["n"]})' in text
    row = json.loads((ROOT / 'benchmarks/results/rows.json').read_text(encoding='utf-8'))['rows']['C2']['detail']['float32']
    gains = {name: r['training, diffbook is faster by']['median'] for name, r in row.items() if name != 'diffbook'}
    assert f"{gains[next(n for n in gains if n.startswith('diffusers'))]:.2f} times as fast as diffusers' of equal size" in text


def test_the_results_of_the_zoo_are_those_of_the_result_files():
    text = (ROOT / 'benchmarks/README.md').read_text(encoding='utf-8')
    rows = json.loads((ROOT / 'diffbook/zoo/fashion-mnist/report.json').read_text(encoding='utf-8'))['rows']
    for row in rows:
        model, floor, ratio = (row[k] for k in ('frechet', 'frechet_floor', 'frechet_ratio'))
        assert f'| {row["n"]:,} | {model:.3g} | {floor:.3g} | {ratio:.1f} |' in text
    last = rows[-1]
    judged = [last[k] for k in ('precision', 'recall', 'precision_floor', 'recall_floor')]
    assert '| {:.2f}, {:.2f} | {:.2f}, {:.2f} |'.format(*judged) in text
    assert f'| {100 * last["copies"]:.2f} % |' in text
    bits = torch.tensor((seen := read_measured('likelihood'))['bits']['flow'])
    reach = student(len(bits) - 1) * bits.std() / len(bits) ** 0.5
    assert f'{bits.mean():.2f} bits per dimension (95 % interval {bits.mean() - reach:.2f} to {bits.mean() + reach:.2f}, n = {seen["n"]};' in text
    for row in json.loads((ROOT / 'diffbook/zoo/shapes/report.json').read_text(encoding='utf-8'))['rows']:
        shares = f'{row["all"]:.1%} ({row["low"]:.1%} to {row["high"]:.1%}) | {row["bag"]:.0%} | {row["without_text"]:.1%} | {row["real"]:.0%}'
        assert f'| {row["set"]} | {row["n"]} | {shares} |' in text
    first = json.loads((ROOT / 'diffbook/zoo/shapes/first-run.json').read_text(encoding='utf-8'))['rows']
    shares = [f'{first[k]["all"]:.1%}' for k in (0, 3, 1)]
    assert '`first-run.json`): one object was right in {}, a new kind in {} and two objects in {}.'.format(*shares) in text
    before = json.loads((ROOT / 'diffbook/zoo/shapes/before-near-misses.json').read_text(encoding='utf-8'))['rows'][1]['all']
    assert f'the same network had {before:.1%} of the pictures of two objects right' in text
    longer = json.loads((ROOT / 'diffbook/zoo/shapes/first-tower-longer.json').read_text(encoding='utf-8'))['rows'][1]
    assert f'with that first tower it had {longer["all"]:.1%} ({longer["low"]:.1%} to {longer["high"]:.1%}; `first-tower-longer.json`)' in text
    for row in json.loads((ROOT / 'diffbook/zoo/emoji/report.json').read_text(encoding='utf-8'))['rows']:
        copied = '' if row['copy_rate'] is None else f'{row["copy_rate"]:.0%}'
        assert f'| {row["frechet"]:.4f} | {row["retrieval, seen"]:.1%} | {row["retrieval, unseen"]:.1%} | {row["detail"]:.3f} | {copied} |' in text
    rows = json.loads((ROOT / 'benchmarks/results/rows.json').read_text(encoding='utf-8'))['rows']
    for id in ('C1', 'C2'):
        for name, row in rows[id]['detail']['float32'].items():
            if name != 'diffbook':
                gain = row['training, diffbook is faster by']
                rate = row['training, images a second']['median']
                low, high = gain['quartiles']
                assert f'| {row["parameters"]:,} | {rate:.0f} | {gain["median"]:.2f} | {low:.2f} to {high:.2f} |' in text
    loss = rows['C2-loss']
    ratios = [f'{goal["figure"]:.2f}' for goal in loss['goals'][:2]]
    assert f'After {loss["detail"]["images"]:,} images' in text
    assert "{} times that of diffusers' and {} times that of denoising-diffusion-pytorch's".format(*ratios) in text
    assert f'{rows["C5"]["goals"][0]["figure"]:.0%} of the convolution ceiling' in text


def test_the_students_of_the_garments_are_those_of_the_result_file():
    text = (ROOT / 'benchmarks/README.md').read_text(encoding='utf-8')
    found = json.loads((ROOT / 'benchmarks/results/few.json').read_text(encoding='utf-8'))
    teacher = next(row for row in found['solvers'] if row.get('model') == 'fashion-mnist')
    for row in [*found['solvers'], found['rows'][0] | {'calls': found['calls']}]:
        share = row['frechet'] / teacher['frechet']
        assert f'| {row["calls"]} | {row["frechet"]:.2f} | {share:.1f} | {row["precision"]:.2f}, {row["recall"]:.2f} | {row["copies"]:.2%} |' in text
    assert (
        f'{found["model"]["parameters"]:,} weights' in text
        and found['judge'] == json.loads((ROOT / 'diffbook/zoo/zoo.json').read_text())['classifier']['sha256']
    )
