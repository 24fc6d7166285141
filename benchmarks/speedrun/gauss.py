"""Let a formula do what a formula can: the ideal denoiser of a Gaussian with the mean and covariance of the pictures, and a network for the rest."""

import torch
from torch import Tensor, nn

from diffbook.core import match_dims
from diffbook.data import to_model


class BesideGauss(nn.Module):
    "Predict v as the Gaussian would, plus what the network adds, in units of what the Gaussian cannot know. On the cosine schedule; t runs to 1000."

    def __init__(self, net: nn.Module, images: Tensor):
        super().__init__()
        x = to_model(images).flatten(1).double()
        values, vectors = torch.linalg.eigh(x.T.cov())
        self.net = net
        self.register_buffer('mean', x.mean(0).float())
        self.register_buffer('values', values.clamp_min(1e-6).float())
        self.register_buffer('vectors', vectors.float())

    def forward(self, x: Tensor, t: Tensor, cond: None = None) -> Tensor:
        angle = (t * (torch.pi / 2000))[:, None]
        alpha, sigma = angle.cos(), angle.sin()
        z = (x.flatten(1) - alpha * self.mean) @ self.vectors
        known = self.values / (alpha**2 * self.values + sigma**2)  # the variance of v that is left, for each direction
        eps = z * sigma / (alpha**2 * self.values + sigma**2)
        x0 = alpha * z * known
        v = ((alpha * eps - sigma * x0) @ self.vectors.T - sigma * self.mean).view_as(x)
        return v + match_dims(known.mean(1).sqrt(), x) * self.net(x, t)
