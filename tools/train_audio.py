"""Train the two judges of sound on the spoken digits: one hears which digit is spoken, the other who speaks.

    python tools/train_audio.py digit --zoo
    python tools/train_audio.py speaker --zoo

Trains a small network on the pictures of loudness of the 2,700 recordings of the training set, each moved a little in time,
and counts its answers on the 300 of the test. Writes OUT/model.safetensors (half precision), OUT/config.json and OUT/log.csv;
with --zoo they go to the zoo of the package, and are pinned there. Order, moves and first weights are functions of the seed.
"""

import argparse
import hashlib
import json
import time
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from diffbook.audio import DIGITS, SPEAKERS, SoundJudge, load
from diffbook.data import Dataset, batches, to_model
from diffbook.recipes import earlier_or_later
from diffbook.training import Trainer, save

ZOO = Path(__file__).resolve().parent.parent / 'diffbook' / 'zoo'
ANSWERS = {'digit': DIGITS, 'speaker': SPEAKERS}


@torch.no_grad()
def share(model: SoundJudge, data: Dataset, column: int) -> float:
    "Which share of the recordings is heard rightly."
    model.eval()
    said = torch.cat([model(to_model(part)).argmax(1) for part in data.images.split(300)])
    return (said == data.labels[:, column]).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', choices=ANSWERS)
    parser.add_argument('--out', type=Path)
    parser.add_argument('--data-root')
    parser.add_argument('--steps', type=int, default=600)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--lr', type=float, default=3e-3)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--zoo', action='store_true', help='write to the zoo of the package and pin the files there')
    a = parser.parse_args()
    name, column = f'{a.name}-judge', list(ANSWERS).index(a.name)
    out = ZOO / name if a.zoo else a.out or Path('runs') / name
    data, test = load('train', a.data_root), load('test', a.data_root)
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(a.seed)
        model = SoundJudge(len(ANSWERS[a.name]))

    def loss(model: SoundJudge, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> Tensor:
        pictures, labels = to_model(earlier_or_later(batch[0], generator, 3)), batch[1][:, column]
        return F.cross_entropy(model(pictures), labels, label_smoothing=0.05, reduction='none')

    trainer = Trainer(model, loss, lr=a.lr, warmup=50, total=a.steps, weight_decay=0.01, seed=a.seed, bf16=False)
    rows, losses, begun = ['step,processor_seconds,loss,test'], [], time.process_time()
    for step in tqdm(trainer.fit(islice(batches(data, a.batch, a.seed), a.steps)), total=a.steps, unit='step'):
        losses.append(step.loss.item())
        if step.step % 100 == 0 or step.step == a.steps:
            spent, mean = time.process_time() - begun, sum(losses) / len(losses)
            rows.append(f'{step.step},{spent:.0f},{mean:.5f},{share(model, test, column):.4f}')
            losses = []
    about = {'data': 'spoken-digits', 'answers': list(ANSWERS[a.name]), 'steps': a.steps, 'batch': a.batch, 'rate': a.lr, 'seed': a.seed}
    about |= {'parameters': sum(p.numel() for p in model.parameters()), 'test': share(model, test, column), 'train': share(model, data, column)}
    about |= {'processor_seconds': round(time.process_time() - begun), 'torch': torch.__version__.split('+')[0]}
    save(out, model, about, torch.float16)
    (out / 'log.csv').write_text('\n'.join(rows) + '\n')
    print(json.dumps(about))
    if a.zoo:
        data, record = (out / 'model.safetensors').read_bytes(), ZOO / 'zoo.json'
        entry = {'file': f'{name}/model.safetensors', 'bytes': len(data), 'sha256': hashlib.sha256(data).hexdigest()}
        entry |= {'command': f'python tools/train_audio.py {a.name} --zoo', 'log': f'{name}/log.csv'}
        known = json.loads(record.read_text())
        record.write_text(json.dumps(dict(sorted({**known, name: entry}.items())), indent=1) + '\n')


if __name__ == '__main__':
    main()
