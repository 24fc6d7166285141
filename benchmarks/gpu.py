"""Rows G1 to G5, which need a CUDA device; without one each says `not measured`."""

import argparse
import statistics

import torch

from benchmarks.measure import alternate, clock, goal, summary
from benchmarks.peers import DIFFUSERS, LUCIDRAINS, OURS, Net, make, optimizer, ours, same_weights, size, train_step
from benchmarks.quality import judge, pictures
from benchmarks.rows import NotMeasured, row
from benchmarks.speed import batch_of, ceiling_runs, denoiser, garments
from diffbook.nets.unet import UNet

LARGE = {'block_out_channels': (128, 256, 256), 'layers_per_block': 2, 'norm_num_groups': 32}


def need_gpu() -> None:
    if not torch.cuda.is_available():
        raise NotMeasured('no CUDA device')
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True


def against(nets: dict[str, Net], name: str, args: argparse.Namespace, wished: tuple[float, float]) -> dict:
    "Ours in bfloat16 and compiled, against another net as shipped (float32) and against the same net compiled in bfloat16."
    x, t, target = (v.cuda() for v in batch_of(args.gpu_batch))
    runs = {}
    for label, key, bf16, compiled in (('ours', OURS, True, True), ('as shipped', name, False, False), ('compiled, bfloat16', name, True, True)):
        net = nets[key].cuda()
        called, optim = torch.compile(net) if compiled else net, optimizer(net)
        runs[label] = lambda c=called, o=optim, b=bf16: train_step(c, o, x, t, target, b)
    seconds, first = alternate(runs, args.rounds)
    rates = {label: summary([args.gpu_batch / s for s in values]) for label, values in seconds.items()}
    goals = [
        goal(f'{name}, {label}', summary([b / a for a, b in zip(seconds['ours'], seconds[label])]), at_least=least)
        for label, least in zip(('as shipped', 'compiled, bfloat16'), wished)
    ]
    return {
        'goals': goals,
        'detail': {'images a second': rates, 'seconds of the first call': first, 'batch': args.gpu_batch, 'nets': {k: size(n) for k, n in nets.items()}},
    }


@row('G1', 'training images a second on a GPU, the same weights, bfloat16')
def g1(args: argparse.Namespace) -> dict:
    need_gpu()
    nets = same_weights(**LARGE)
    if not nets:
        raise NotMeasured('diffusers is not installed')
    return against(nets, DIFFUSERS, args, (2.0, 1.2))


@row('G2', 'training images a second on a GPU, equal parameters')
def g2(args: argparse.Namespace) -> dict:
    need_gpu()
    nets = {name: net for name in (OURS, LUCIDRAINS) if (net := make(name))}
    if LUCIDRAINS not in nets:
        raise NotMeasured('denoising-diffusion-pytorch is not installed')
    return against(nets, LUCIDRAINS, args, (5.0, 1.5))


@row('G3', 'FLOP a second of a training step, by those of a bfloat16 matrix product')
def g3(args: argparse.Namespace) -> dict:
    need_gpu()
    a = torch.randn(8192, 8192, device='cuda', dtype=torch.bfloat16)
    nets = {'128 channels': Net(UNet(1, channels=(128, 256), blocks=(2, 2), heads=(0, 4, 4), patch=1, groups=32)).cuda(), 'the net of 28 pixels': ours().cuda()}
    x, t, target = (v.cuda() for v in batch_of(args.gpu_batch))
    work = {'product': 2 * 8192**3 / 1e9, **{k: size(n)['training GFLOP an image'] * args.gpu_batch for k, n in nets.items()}}
    runs = {'product': lambda: a @ a}
    for name, net in nets.items():
        runs[name] = lambda c=torch.compile(net), o=optimizer(net): train_step(c, o, x, t, target, bf16=True)
    convolutions, of = ceiling_runs(args.gpu_batch, bf16=True, device='cuda')
    seconds, first = alternate(runs | convolutions, args.rounds)
    rates = {name: summary([(work | of)[name] / s / 1e3 for s in seconds[name]]) for name in seconds}
    goals = []
    for name, least in zip(nets, (0.35, 0.20)):
        share = [work[name] / s / (work['product'] / p) for s, p in zip(seconds[name], seconds['product'])]
        goals.append(goal(f'product: {name}', summary(share), at_least=least))
    return {'goals': goals, 'detail': {'TFLOP a second': rates, 'seconds of the first call': first, 'batch': args.gpu_batch}}


@row('G4', 'seconds from nothing to a Frechet distance within 1.5 of that of real images, n = 2,048, compiling included')
def g4(args: argparse.Namespace) -> dict:
    need_gpu()
    from diffbook.data import to_model
    from diffbook.losses import training_loss
    from diffbook.metrics import features, frechet_distance
    from diffbook.training import Trainer

    judged, images, points, spent = judge(), garments().cuda(), [], 0.0
    start = clock()
    trainer = Trainer(denoiser(make(OURS)), lambda m, x, g: training_loss(m, to_model(x), g), lr=2e-3, warmup=50, ema=0.999, device='cuda', compile=True)
    while spent < args.seconds:
        for _ in range(200):
            trainer.update(images[torch.randint(len(images), (512,), device='cuda')])
        spent += clock() - start
        found = frechet_distance(features(pictures(trainer.ema.model, 2048, 20, device='cuda').cpu()), judged['real'])
        points.append({'seconds': round(spent, 1), 'images': trainer.step * 512, 'distance': round(found, 2)})
        if found <= 1.5 * judged['floor']:
            return {'goals': [goal('seconds', spent, at_most=60.0)], 'detail': {'floor': judged['floor'], 'points': points}}
        start = clock()
    return {'goals': [], 'detail': {'floor': judged['floor'], 'points': points, 'reached': False}}


def captured(net: Net, x: torch.Tensor, t: torch.Tensor):
    "One call as a CUDA graph: no launch costs anything on the host."
    side = torch.cuda.Stream()
    with torch.cuda.stream(side), torch.inference_mode():
        for _ in range(3):
            net(x, t)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.inference_mode():
        net(x, t)
    return graph.replay


@row('G5', 'drawing 64 images on a GPU, equal calls, ours captured as a graph')
def g5(args: argparse.Namespace) -> dict:
    need_gpu()
    nets = {name: net.cuda().eval() for name in (OURS, DIFFUSERS, LUCIDRAINS) if (net := make(name))}
    x, t = torch.randn(64, 1, 28, 28, device='cuda'), torch.full((64,), 500.0, device='cuda')

    def calls(net: Net) -> None:
        with torch.inference_mode():
            for _ in range(50):
                net(x, t)

    replay = captured(nets[OURS], x, t)
    runs = {name: lambda n=net: calls(n) for name, net in nets.items() if name != OURS} | {OURS: lambda: [replay() for _ in range(50)]}
    seconds, _ = alternate(runs, args.rounds)
    wished = {DIFFUSERS: 3.0, LUCIDRAINS: 5.0}
    goals = [goal(n, summary([b / a for a, b in zip(seconds[OURS], seconds[n])]), at_least=wished[n]) for n in nets if n != OURS]
    return {'goals': goals, 'detail': {'seconds of 50 calls': {n: round(statistics.median(s), 4) for n, s in seconds.items()}}}
