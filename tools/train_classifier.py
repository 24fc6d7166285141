"""Train the judge of Fashion-MNIST on whose features the book measures distances, and pin it.

    python tools/train_classifier.py

Writes diffbook/zoo/classifier.safetensors and its entry in diffbook/zoo/zoo.json.
"""

import argparse
import hashlib
import json
from pathlib import Path

import safetensors.torch
import torch

from diffbook.data import load_data, to_model
from diffbook.metrics import Classifier, fit_classifier
from diffbook.store.files import write_whole

ZOO = Path(__file__).resolve().parent.parent / 'diffbook' / 'zoo'


def accuracy(model, data):
    with torch.no_grad():
        named = torch.cat([model(to_model(x)).argmax(1) for x in data.images.split(1000)])
    return (named == data.labels).double().mean().item()


def pin(name, file, **facts):
    "Write what the zoo says about a model, with the digest of its file."
    data, path = (ZOO / file).read_bytes(), ZOO / 'zoo.json'
    entries = json.loads(path.read_text()) if path.exists() else {}
    entries[name] = {'file': file, 'bytes': len(data), 'sha256': hashlib.sha256(data).hexdigest()} | facts
    write_whole(path, (json.dumps(dict(sorted(entries.items())), indent=1) + '\n').encode())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--epochs', type=int, default=10)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--data-root')
    a = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    train, test = (load_data('fashion-mnist', split, a.data_root) for split in ('train', 'test'))
    model, every, log, recent = Classifier(), len(train) // 128, [], []
    for step, loss in enumerate(fit_classifier(model, train, a.epochs, a.seed), 1):
        recent.append(loss)
        if step % every == 0:
            log.append(round(sum(recent) / len(recent), 4))
            recent = []
            print(f'epoch {len(log)}: loss {log[-1]}', flush=True)
    ZOO.mkdir(exist_ok=True)
    safetensors.torch.save_file(model.state_dict(), ZOO / 'classifier.safetensors')
    facts = {'parameters': sum(p.numel() for p in model.parameters()), 'epochs': a.epochs, 'seed': a.seed}
    facts |= {'test_accuracy': round(accuracy(model, test), 4), 'train_accuracy': round(accuracy(model, train), 4), 'loss_by_epoch': log}
    pin('classifier', 'classifier.safetensors', command='python tools/train_classifier.py', **facts, torch=torch.__version__.split('+')[0])
    print(facts)


if __name__ == '__main__':
    main()
