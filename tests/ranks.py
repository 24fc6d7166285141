"""Run teams of 1, 2 and 4 gloo processes and write down what they computed. Not a test: tests/test_scale.py calls it, by `python ranks.py FOLDER`.

One process imports everything and forks the ranks, which is quicker than starting each anew. They meet in a file, not at a port,
so that several of these may run side by side.
"""

import json
import multiprocessing
import os
import signal
import sys
import traceback
from datetime import timedelta
from itertools import islice
from pathlib import Path

import accelerate
import torch
import torch.distributed.fsdp
import torch.distributed.tensor
from torch import nn

from diffbook.core import Rows, generator
from diffbook.data import batches
from diffbook.losses import Denoiser, training_loss
from diffbook.nets.unet import UNet
from diffbook.predictions import predict_v
from diffbook.scale import Crew, join, my_rows, share, shared
from diffbook.schedules import CosineSchedule
from diffbook.store import checkpoints as files
from diffbook.store.processes import blocks
from diffbook.store.processes import split as cut_in_pieces
from diffbook.store.tensors import copy_whole, own_piece, whole_tensor
from diffbook.training import Trainer

FOLDER = Path(sys.argv[1])
COUNT = iter(range(10**6))
FORK = multiprocessing.get_context('fork')
KINDS = {'float32': torch.float32, 'float64': torch.float64}
assert accelerate  # imported before forking, so that each rank need not


class Net(nn.Module):
    "Layers on their own, one tied weight, one that only some rows reach, so that only some processes meet it, and one that nobody does."

    def __init__(self):
        super().__init__()
        self.first, self.last, self.again = nn.Linear(4, 33), nn.Linear(33, 3), nn.Linear(4, 33, bias=False)
        self.again.weight = self.first.weight
        self.seldom, self.never = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x, level, cond=None):
        x = torch.cat([x, level[:, None].to(x) / 1000], 1)
        y = self.last(torch.tanh(self.first(x)) + self.again(x))
        rare = level > (2000 if self.whole else 900)
        return y + torch.where(rare[:, None], self.seldom(x), 0) if rare.any() else y

    whole = False  # True: nobody takes the branch; weights that are split must be met by all processes or by none


def rank_of(works, rank, size, store, queue):
    os.environ |= {'RANK': str(rank), 'LOCAL_RANK': str(rank), 'WORLD_SIZE': str(size), 'LOCAL_WORLD_SIZE': str(size)}
    os.environ |= {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '1', 'GLOO_SOCKET_IFNAME': 'lo'}
    if size > 1:
        wait = timedelta(seconds=900)
        torch.distributed.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=size, timeout=wait)
    answer = {}
    try:
        for work in works:
            answer[work.__name__] = work(join('cpu'))
    except Exception:
        answer['error'] = traceback.format_exc()
    queue.put((rank, json.dumps(answer)))
    os._exit(0)


def team(size, *works):
    "What each rank answers to each question."
    queue, store = FORK.SimpleQueue(), FOLDER / f'store{next(COUNT)}'
    processes = [FORK.Process(target=rank_of, args=(works, r, size, store, queue)) for r in range(size)]
    for p in processes:
        p.start()
    found = dict(queue.get() for _ in processes)
    for p in processes:
        p.join()
    answers = [json.loads(found[r]) for r in range(size)]
    if broken := [answer['error'] for answer in answers if 'error' in answer]:
        raise SystemExit(broken[0])
    return answers


def make(team, kind, parts=1, loss=training_loss):
    with torch.random.fork_rng([]):
        torch.manual_seed(team.rank)  # the others' weights must give way to those of the first
        net = Net().to(kind)
    model = Denoiser(net, CosineSchedule(), predict_v)
    return Trainer(model, loss, device='cpu', seed=3, warmup=5, backward=shared(team, parts), channels_last=False)


def points(kind):
    return torch.randn(96, 3, dtype=kind, generator=generator(0, 'points'))


def flat(tensors):
    return torch.cat([whole_tensor(v).detach().flatten() for v in tensors]).tolist()


def gradient(team, kind, loss=training_loss, whole=False, parts=1):
    Net.whole = whole
    trainer = make(team, kind, parts, loss)
    trainer._backward(points(kind)[:24][my_rows(24, team)])
    return flat([p.grad for p in trainer.model.parameters() if p.grad is not None])


def one_seed(model, x, source):
    "The mistake that this book avoids."
    return training_loss(model, x, source.source)


def split(team):
    return Crew(team.accelerator, shard=True)


def gradients(team):
    found = {}
    for name, kind in KINDS.items():
        found[name] = {'': gradient(team, kind), ' in 3 parts': gradient(team, kind, parts=3)}
        if team.size == 2:
            found[name][' split'] = gradient(split(team), kind, whole=True)
            found[name][' split in 3 parts'] = gradient(split(team), kind, whole=True, parts=3)
            found[name][' with one seed'] = gradient(team, kind, loss=one_seed)
    return found


def train(team, n, folder=None, whole=False):
    Net.whole = whole
    trainer = make(team, torch.float32)
    if folder:
        trainer.resume(folder)
    for _ in trainer.fit(islice(batches(share(points(torch.float32), team), 24, 3, trainer.step), n), folder):
        pass
    whole = copy_whole(trainer.ema.model, Denoiser(Net(), CosineSchedule(), predict_v))
    return torch.cat([v.flatten() for v in whole.state_dict().values()]).tolist(), trainer.step


def updates(team):
    found = {'': train(team, 100)[0]}
    if team.size == 2:
        found[' split'] = train(split(team), 100, whole=True)[0]
    if team.size == 1:
        found |= {'whole': train(team, 100, whole=True)[0], '25': train(team, 25, whole=True)[0]}
    return found


def journey(team):
    return train(team, 5, FOLDER / 'journey', whole=True)


def journey_split(team):
    return train(split(team), 5, FOLDER / 'journey', whole=True)


def whole_gradient(team):
    return {name: gradient(team, kind, whole=True) for name, kind in KINDS.items()}


class Keep(nn.Module):
    schedule, prediction = CosineSchedule(), staticmethod(predict_v)

    def raw(self, x, t, cond=None):
        self.seen = x.flatten(1).tolist()  # for x0 = 0 this is sigma times the noise
        return x


def noise(team):
    keep, n, source = Keep(), 24 // team.size, generator(3, 'train', 7)
    training_loss(keep, torch.zeros(n, 5), Rows(source, n * team.rank, 24) if team.size > 1 else source)
    return keep.seen


def block_by_block(team):
    "A U-Net of which every stage is gathered on its own: how far its gradients are from the whole net's, and the largest piece."
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        net = UNet(1, channels=(8, 16), blocks=(1, 1), heads=(0, 0, 2), groups=4).double()
    nn.init.ones_(net.head.weight)
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, generator=generator(0, 'x'))
    grads = lambda: torch.cat([whole_tensor(p.grad).flatten() for p in net.parameters()])  # noqa: E731
    net(x, torch.ones(2)).square().mean().backward()
    want = grads()
    net.zero_grad()
    cut_in_pieces(net, team.device, least=1)
    net(x, torch.ones(2)).square().mean().backward()
    held = sum(own_piece(p).numel() for p in net.parameters()) / sum(p.numel() for p in net.parameters())
    return far(grads().tolist(), want.tolist()), held, len(blocks(net, 1))


def writers(team):
    wrote, real = [], files.write_whole
    files.write_whole = lambda path, data: (wrote.append(team.rank), real(path, data))
    make(team, torch.float32).save(FOLDER / 'writers')
    files.write_whole = real
    return wrote


def disagree(team):
    try:
        trainer = make(team, torch.float32)
        trainer.resume(FOLDER / ('journey' if team.rank else 'nothing'))
        trainer.update(points(torch.float32)[:24][my_rows(24, team)])
    except ValueError as error:
        return str(error)


def stopped(team):
    trainer = make(team, torch.float32)
    try:
        for step in trainer.fit(batches(share(points(torch.float32), team), 24, 3), FOLDER / 'stopped'):
            if step.step == 3 and team.rank == 1:
                os.kill(os.getpid(), signal.SIGTERM)
    except SystemExit as stop:
        return stop.code, trainer.step


def main():
    one = team(1, gradients, updates, noise, journey, whole_gradient)[0]
    two = team(2, gradients, updates, noise, journey, block_by_block, writers, disagree, stopped)
    four = team(4, gradients, updates, noise, journey)
    more = [team(2, journey_split)[0]['journey_split'], team(1, journey)[0]['journey']]
    report = {'gradients': {}, 'noise': {}}
    for name in KINDS:
        truth = {False: one['gradients'][name][''], True: one['whole_gradient'][name]}
        found = {f'{n}{how}': far(v, truth['split' in how]) for n, t in ((1, [one]), (2, two), (4, four)) for how, v in t[0]['gradients'][name].items()}
        report['gradients'][name] = found
    report['same bits'] = {str(len(t)): all(each['gradients'][k][''] == t[0]['gradients'][k][''] for each in t for k in KINDS) for t in (two, four)}
    report['updates'] = {f'{len(t)}{how}': far(v, one['updates']['whole' if how else '']) for t in (two, four) for how, v in t[0]['updates'].items()}
    for t in (two, four):
        rows = [tuple(row) for each in t for row in each['noise']]
        report['noise'][str(len(t))] = [rows == [tuple(row) for row in one['noise']], len(rows), len(set(rows))]
    stops = [one['journey'], two[0]['journey'], four[0]['journey'], *more]
    report['journey'] = {'steps': [step for _, step in stops], 'error': far(stops[-1][0], one['updates']['25'])}
    report['writers'], report['disagree'] = sum((each['writers'] for each in two), []), two[0]['disagree']
    report['blocks'] = [each['block_by_block'] for each in two]
    report['signal'] = [each['stopped'] for each in two]
    (FOLDER / 'report.json').write_text(json.dumps(report, indent=1))


def far(a, b):
    a, b = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    return ((a - b).norm() / b.norm()).item()


if __name__ == '__main__':
    main()
