"""What a user writes: train, resume, save, load and sample, with everything from the package's face. mypy and pyright read it."""

from pathlib import Path

import torch

from diffbook import (
    EMA,
    CosineSchedule,
    Denoiser,
    GaussianMixture,
    Stage,
    Trainer,
    UNet,
    ancestral,
    ddim,
    diffusion_loss,
    guide,
    heun,
    load,
    predict_v,
    sample,
    save,
    uniform_times,
)
from diffbook.data import batches, load_data, to_model
from diffbook.training import TrainStep


def loss(model: Denoiser, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    x0 = to_model(batch)
    t = torch.rand(len(x0), generator=generator)
    return diffusion_loss(model, x0, t, torch.randn(x0.shape, generator=generator))


def train(folder: Path, steps: int = 1000) -> Denoiser:
    images: torch.Tensor = load_data('fashion-mnist').images
    denoiser = Denoiser(UNet(1, channels=(32, 64), blocks=(1, 1), heads=(0, 0, 4)), CosineSchedule(), predict_v)
    trainer = Trainer(denoiser, loss, lr=1e-3, total=steps, ema=0.999, seed=0)
    trainer.resume(folder / 'checkpoints')
    step: TrainStep
    for step in trainer.fit(batches(images, 64, 0, trainer.step), folder / 'checkpoints', every=500):
        if step.step >= steps:
            break
    average: EMA | None = trainer.ema
    assert average is not None
    save(folder, average.model, {'shape': [1, 28, 28]})
    return denoiser


def draw(folder: Path) -> torch.Tensor:
    model = load(folder)
    assert isinstance(model, Denoiser)
    x = torch.randn(16, 1, 28, 28)
    times: torch.Tensor = uniform_times(model.schedule, 20)
    *_, x0 = sample(model, model.schedule, x, times, heun)
    stage = Stage(model, model.schedule, (1, 28, 28), solver=ancestral)
    pictures: torch.Tensor = stage.draw(16, seed=1, steps=50)
    return torch.cat([x0, pictures])


def exact() -> float:
    law = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], [[[0.1]], [[0.1]]])
    schedule = CosineSchedule()
    t = torch.tensor(0.5)
    noisy: GaussianMixture = law.at(schedule, t)
    x: torch.Tensor = noisy.sample(8)
    x0: torch.Tensor = law.denoise(schedule)(x, t, None)
    assert law.flow(schedule, x, t, 0.1).shape == noisy.score(x).shape == x0.shape
    step: torch.Tensor = ddim(schedule, law.denoise(schedule), x, t, torch.tensor(0.4))
    return float(law.log_prob(step).mean()) + law.loss_floor(schedule, t, predict_v)


__all__ = ['draw', 'exact', 'guide', 'train']
