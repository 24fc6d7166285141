"""From nothing to clothes: how fast can a network learn to draw Fashion-MNIST on two processor cores? `python -m benchmarks.speedrun --help`."""
