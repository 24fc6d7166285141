"""Repeat experiments of the chapters with other seeds, for the claims that would take too long on the page.

    python tools/measure_seeds.py                      # all of them: about a quarter of an hour of one core
    python tools/measure_seeds.py guidance-particles   # some; the others keep what was measured before

An experiment is a list of cells of a notebook, run as they stand there, and an expression that is kept.
Repetition 0 is the page itself; in repetition k every seed that the cells name is moved by 1000 k.
Writes diffbook/measured/seeds.json.
"""

import argparse
import contextlib
import functools
import importlib
import io
import json
from pathlib import Path

import torch

from diffbook import core
from diffbook.store.files import write_whole

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / 'diffbook' / 'measured' / 'seeds.json'
MODULES = {
    '41_clip': 'diffbook.nets.clip',
    '42_conditioning': 'diffbook.conditioning',
    '43_guidance': 'diffbook.guidance',
    '45_editing': 'diffbook.editing',
    '46_inverse': 'diffbook.inverse',
    '50_vae': 'diffbook.nets.vae',
    '54_stable_diffusion': 'diffbook.stable_diffusion',
}
EXPERIMENTS = {}  # name -> function of (), which gives {'repetitions': [...], 'values': {...}}


@functools.cache
def cells(chapter):
    "Sources of the code cells of a chapter, by id."
    notebook = json.loads(next((ROOT / 'nbs').glob(f'{chapter}.ipynb')).read_text(encoding='utf-8'))
    return {c['id']: ''.join(c['source']) for c in notebook['cells'] if c['cell_type'] == 'code'}


def moved(k):
    "What replaces the sources of randomness in repetition k."
    return {
        'noise': lambda seed, *rest: core.noise(seed + 1000 * k, *rest),
        'generator': lambda seed, *rest: core.make_generator(seed + 1000 * k, *rest),
        'make_generator': lambda seed, *rest: core.make_generator(seed + 1000 * k, *rest),
        'seeded_noise': lambda seed, *rest: core.seeded_noise(seed + 1000 * k, *rest),
    }


def run(chapter, names, space, k):
    "Run cells of a chapter, each seed moved, among the names of the module that the chapter exports."
    sources = cells(chapter)
    if module := MODULES.get(chapter):
        space.update({word: v for word, v in vars(importlib.import_module(module)).items() if not word.startswith('__')})
    for name in names.split():
        code = sources[name].replace('torch.manual_seed(0)', f'torch.manual_seed({1000 * k})')
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(code, f'{chapter}, {name}', 'exec'), space)
        space.update(moved(k))
    return space


def experiment(name):
    return lambda f: EXPERIMENTS.setdefault(name, f)


def repeated(chapter, names, keep, repetitions):
    "Run the cells for each repetition; keep {label: number} of each as {label: [numbers]}."
    rows = []
    for k in range(repetitions):
        rows.append(keep(run(chapter, names, {'__name__': 'chapter'}, k)))
        print(k, rows[-1], flush=True)
    values = {label: [row[label] for row in rows] for label in rows[0]}
    return {'chapter': chapter, 'cells': names.split(), 'repetitions': repetitions, 'values': values}


@experiment('guidance-particles')
def particles():
    def keep(space):
        return {f'scale {scale}, {steps} steps': space['by_particles'](scale, steps) for scale in (2, 4, 7.5) for steps in (100, 400)}

    return repeated('43_guidance', 'tools laws lab lab-check tilt even really by-particles', keep, 10)


@experiment('guidance-langevin')
def settling():
    def keep(space):
        return {f'scale {scale}, {steps} steps': space['settle'](scale, steps).item() for scale in (2, 4, 7.5) for steps in (0, 16)}

    return repeated('43_guidance', 'tools laws lab lab-check tilt even really settle-one', keep, 5)


@experiment('guidance-table')
def table():
    def keep(space):
        return {f'{name}, scale {scale}': row[0].item() for (name, scale), row in space['table'].items()}

    return repeated('43_guidance', 'tools laws lab lab-check tilt even really falling picture methods table-run table-loop', keep, 5)


@experiment('guidance-arms')
def arms():
    def keep(space):
        return {f'{name}, scale {scale}, {what}': v for (name, scale), pair in space['curve'].items() for what, v in zip(('right', 'spread'), pair)}

    return repeated('43_guidance', 'tools imports-train arms net train train-run real-scores real-run', keep, 5)


@experiment('clip-museum')
def museum():
    def keep(space):
        return {' '.join(name.split()): rate for name, rate in space['rates'].items()}

    return repeated('41_clip', 'imports-here zoo-clip live-data live-model retrieval-count museum-vectors museum-losses museum-judge museum-run', keep, 5)


@experiment('conditioning-listens')
def listens():
    def keep(space):
        models = {'listens': space['listens'], 'deaf': space['deaf']}
        return {f'{name}, {what}': loss for name, model in models.items() for what, loss in space['losses'](model).items()}

    names = 'imports-show classes regression-check drop-check small-net train train-run diagnose'
    return repeated('42_conditioning', names, keep, 3)


@experiment('vae-terms')
def vae_terms():
    def keep(space):
        pca = {'PCA': space['error'](space['by_pca']), 'VAE': space['error'](space['again'])}
        look, unseen = space['look'], space['unseen']
        terms = {f'{name}, squared error': space['error'](y) for name, y in space['three'].items()}
        return pca | terms | {f'{name}, in features': space['perceptual_loss'](look, y, unseen).mean().item() for name, y in space['three'].items()}

    return repeated('50_vae', 'imports-here live-data live-model live-training pca-rival features go-on three', keep, 3)


@experiment('latent-live')
def latent_live():
    def keep(space):
        return {name: space['one_object'](x) for name, x in space['drawn'].items()}

    names = 'imports codec live-scale-code live-recon shards shards-written loss latent-loss twins live-train live-train-both draw live-draw live-count'
    return repeated('52_latent_diffusion', names, keep, 6)


@experiment('inverse-methods')
def inverse_methods():
    def keep(space):
        sets = (('exactly', space['made'], space['sharp']), ('measured', space['noisy'], space['post']))
        return {f'{known}, {name}': space['score'](x, truth)[0] for known, rows, truth in sets for name, x in rows.items()}

    return repeated('46_inverse', 'tools smallest kalman-check score score-methods fit weighed-step weighed score-run', keep, 5)


@experiment('stable-negative')
def negative_prompt():
    "64 drawings with and without the negative prompt: how many hold a thing of each colour."
    space = run('54_stable_diffusion', 'tools-own tools-more', {'__name__': 'chapter'}, 0)
    space['small'] = space['load']('shapes')
    run('54_stable_diffusion', 'negative-count', space, 0)
    pipe = space['StableDiffusion'](space['small'].denoiser, space['small'].conditioner, space['Pixels'](), plan=space['Plan'](clip=1.0), size=32)
    plain, counts = 'a big {}circle at the centre on a black background', {}
    for name, away in (('prompt', ''), ('negative', plain.format('red '))):
        batches = [pipe([plain.format('')] * 8, away, scale=3.0, steps=20, output='tensor', progress=False, first=first) for first in range(0, 64, 8)]
        counts[name] = space['count'](torch.cat(batches))
        print(name, counts[name], flush=True)
    return {'chapter': '54_stable_diffusion', 'drawings': 64, 'values': counts}


@experiment('editing-inversion')
def inversion():
    "One repetition; 32 garments. The deviation of the noise that one round of correction finds, in 20, 80 and 320 steps."
    space = run('45_editing', 'tools sketches', {'__name__': 'chapter'}, 0)
    x, values = space['garments'], {}
    ground = x < -0.99
    for steps in (20, 80, 320):
        with torch.no_grad():
            *_, code = space['invert'](space['model'], space['schedule'], x, space['uniform_times'](space['schedule'], steps).flip(0), rounds=1)
        each = {'all': code, 'ground': code[ground], 'garment': code[~ground]}
        values[steps] = {name: v.std().item() for name, v in each.items()} | {'each': code.flatten(1).std(1).tolist()}
        print(steps, {k: v for k, v in values[steps].items() if k != 'each'}, flush=True)
    return {'chapter': '45_editing', 'pictures': len(x), 'values': values}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', default=list(EXPERIMENTS), metavar='NAME', help=', '.join(EXPERIMENTS))
    names = parser.parse_args().names
    if unknown := [name for name in names if name not in EXPERIMENTS]:
        parser.error(f'there is no {unknown[0]}, expected some of {", ".join(EXPERIMENTS)}')
    torch.set_num_threads(1)
    for name in names:
        print(name, flush=True)
        found = EXPERIMENTS[name]()
        result = json.loads(FILE.read_text()) if FILE.exists() else {'command': 'python tools/measure_seeds.py', 'experiments': {}}
        result['experiments'][name] = found
        write_whole(FILE, (json.dumps(result, indent=1, sort_keys=True) + '\n').encode())


if __name__ == '__main__':
    main()
