# Written by tools/stubs.py from the module beside it.

from collections.abc import Callable, Iterator, Sequence
import torch
from torch import Tensor, nn
from .core import Cond, NoiseFn, Rows, Time
from .nets.clip import TextEmbeddings
from .schedules import Schedule
from typing import Any

__all__ = ['LETTERS', 'PredictFn', 'Rule', 'spell', 'read', 'hide', 'gumbel', 'unmask', 'Chains', 'masked_loss', 'subset_bound', 'exact_walk', 'each_alone', 'captions', 'Neighbours', 'TextDenoiser', 'any_places', 'surest_place', 'surest_tokens']

LETTERS: str

def spell(texts: Sequence[str], length: int) -> Tensor:
    """Number the letters of texts, (b, length), filled up with full stops."""
    ...

def read(x: Tensor) -> list[str]:
    """Write rows of numbers as texts, a hidden letter as an underscore, without the full stops at the end."""
    ...

def hide(schedule: Schedule, x0: Tensor, t: Time, u: Tensor, mask: int) -> Tensor:
    """Hide each token on its own with probability 1 - alpha(t) (Austin et al. 2021, absorbing state; eq-discrete-hide).

    schedule: alpha(t) is the chance that a token is still to be seen
    x0: (b, l) whole numbers, the tokens
    t: now
    u: (b, l) uniform numbers
    mask: the number that stands for a hidden token
    returns: (b, l) x_t
    """
    ...

PredictFn = Callable[[Tensor, Tensor, Cond | None], Tensor]

def gumbel(noise: NoiseFn, like: Tensor, t: Tensor) -> Tensor:
    """Numbers of Gumbel's law, in float64: the place of the largest of log p + gumbel has distribution p (Gumbel 1954)."""
    ...

def unmask(schedule: Schedule, predict: PredictFn, x: Tensor, t: Tensor, s: Tensor, cond: Cond | None=None, *, noise: NoiseFn=...) -> Tensor:
    """Show each hidden token with the chance that it was hidden between s and t, drawn from what is predicted (Sahoo et al. 2024; eq-discrete-back).

    schedule: alpha
    predict: what stands at each place
    x: (b, l) x_t
    t: now
    s: next, with fewer hidden
    cond: condition
    noise: where chance comes from
    returns: x_s
    """
    ...

class Chains:
    """A mixture of k Markov chains over v tokens: a distribution of texts of which every conditional is known."""
    weights: Any
    first: Any
    step: Any
    length: Any
    mask: Any
    def __init__(self, weights: Tensor | Sequence, first: Tensor | Sequence, step: Tensor | Sequence, length: int) -> None:
        """weights: (k,), sum one
        first: (k, v) distribution of the first token
        step: (k, v, v) from a token to the next
        length: tokens of a text
        """
        ...
    def _messages(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithms: of what stands before each place together with its token, of what stands behind given its token, and whether a token fits.

        returns: (b, k, l, v) each
        """
        ...
    def _chance(self, cond: Cond | None) -> Tensor:
        """returns: of each chain, (k,) or (b, k)"""
        ...
    def log_prob(self, x: Tensor, cond: Cond | None=None) -> Tensor:
        """The log-probability of the tokens that are to be seen, (b, l) -> (b,), in nats; hidden ones are summed over."""
        ...
    def predict(self, x: Tensor, t: Time | None=None, cond: Cond | None=None) -> Tensor:
        """The log-probability of each token at each place, given what is seen elsewhere, (b, l) -> (b, l, v): forwards and backwards (eq-discrete-conditional)."""
        ...
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw texts, from the first token to the last.

        returns: (n, length)
        """
        ...

def masked_loss(predict: PredictFn, x0: Tensor, generator: torch.Generator | Rows, cond: Cond | None=None, *, mask: int, schedule: Schedule=..., draw: Callable[[Schedule, int, torch.Generator], Tensor]=...) -> Tensor:
    """Hide tokens at a random time and weigh the surprise at those hidden (Sahoo et al. 2024, equation 10; Shi et al. 2024; eq-discrete-bound).

    predict: the model
    x0: (b, l) tokens
    generator: of times and of what is hidden
    mask: the number that stands for a hidden token
    schedule: alpha; the mean does not depend on it, the spread does
    draw: of the times
    returns: (b,) nats of each text: an unbiased estimate of the bound
    """
    ...

def subset_bound(predict: PredictFn, x0: Tensor, mask: int, cond: Cond | None=None) -> Tensor:
    """The bound of masked diffusion, summed over every set of hidden places: for short texts (eq-discrete-subsets).

    returns: (b,) nats
    """
    ...

Rule = Callable[[Tensor, Tensor], Iterator[tuple[Tensor, Tensor]]]

def exact_walk(predict: PredictFn, mask: int, length: int, rules: Sequence[Rule]) -> Tensor:
    """Follow the distribution of all states, hidden tokens and all, from everything hidden through a rule for each step: for short texts; nothing is drawn.

    returns: (mask + 1) ** length probabilities, the last token fastest
    """
    ...

def each_alone(share: float) -> Rule:
    """Show each hidden token with one chance, as `unmask` does."""
    ...

def captions() -> dict[str, float]:
    """List every caption of a scene with one object, in each wording, as often as the drawn world says it.

    returns: sentence -> its probability
    """
    ...

class Neighbours(nn.Module):
    """Add to each letter what a look at five letters makes of it: itself and two on either side, `apart` places from each other."""
    norm: nn.LayerNorm
    mix: nn.Conv1d
    def __init__(self, width: int, apart: int) -> None: ...
    def forward(self, h: Tensor) -> Tensor:
        """returns: (b, l, width)"""
        ...

class TextDenoiser(nn.Module):
    """Guess every letter from those that are seen, on both sides: convolutions of growing reach (Kalchbrenner et al. 2016), not told the time."""
    mask: int
    embed: TextEmbeddings
    told: Any
    body: nn.Sequential
    norm: nn.LayerNorm
    out: nn.Linear
    def __init__(self, tokens: int, length: int, width: int=96, classes: int=0) -> None:
        """tokens: that there are; the mask is one more
        length: of a text
        classes: length of the vector that a condition holds
        """
        ...
    def forward(self, x: Tensor, t: Time | None=None, cond: Cond | None=None) -> Tensor:
        """returns: (b, l) -> (b, l, tokens)"""
        ...

def any_places(m: int) -> Rule:
    """Show m hidden tokens, at places drawn evenly."""
    ...

def surest_place(log_p: Tensor, hidden: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Look for the hidden place whose best token is likeliest, then draw there."""
    ...

def surest_tokens(m: int) -> Rule:
    """Draw a token everywhere, keep the m likeliest of those drawn, hide the others again (Nie et al. 2025, low-confidence remasking)."""
    ...
