// What is exact about points in the plane: a mixture of round bumps under noise, two schedules, the grids and the step rules of
// chapter 30. The arithmetic is that of the Python package, in doubles; tests/web holds the two together. No document in here.
'use strict';
(() => {
  const live = globalThis.live ??= {};

  // ---- chance: the same numbers for the same seed, everywhere
  function random(seed) {
    let a = (seed >>> 0) + 0x9e3779b9 | 0;
    const uniform = () => {  // 53 bits from two draws of mulberry32
      const draw = () => {
        a = a + 0x6d2b79f5 | 0;
        let z = Math.imul(a ^ a >>> 15, 1 | a);
        z = z + Math.imul(z ^ z >>> 7, 61 | z) ^ z;
        return (z ^ z >>> 14) >>> 0;
      };
      return ((draw() >>> 5) * 67108864 + (draw() >>> 6)) / 9007199254740992;
    };
    let kept = null;
    const normal = () => {  // Box and Muller
      if (kept !== null) { const z = kept; kept = null; return z; }
      const r = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
      kept = r * Math.sin(angle);
      return r * Math.cos(angle);
    };
    return { uniform, normal };
  }

  // ---- schedules: shares of data and noise, their slopes, and the time of a level sigma / alpha
  const half = Math.PI / 2;
  const schedules = {
    cosine: {
      alpha: (t) => Math.sin(half * (1 - t)), sigma: (t) => Math.sin(half * t),
      alphaDot: (t) => -half * Math.sin(half * t), sigmaDot: (t) => half * Math.sin(half * (1 - t)),
      timeAt: (level) => Math.atan(level) / half,
    },
    straight: {
      alpha: (t) => 1 - t, sigma: (t) => t, alphaDot: () => -1, sigmaDot: () => 1,
      timeAt: (level) => level / (1 + level),
    },
  };

  // DDPM's table: a thousand betas that rise linearly, by the share t of its steps. Its entries alone: t falls on the nearest.
  const logs = [0];
  for (let i = 0; i < 1000; i++) logs.push(logs[i] + Math.log1p(-(1e-4 + (0.02 - 1e-4) * i / 999)));
  const entry = (t) => logs[Math.round(1000 * t)];
  const tables = { linear: { alpha: (t) => Math.exp(entry(t) / 2), sigma: (t) => Math.sqrt(-Math.expm1(entry(t))) } };

  // ---- a mixture: points are pairs in one Float64Array
  class Mixture {
    constructor(bumps) {  // [{x, y, std, weight}]
      const sum = bumps.reduce((total, b) => total + b.weight, 0);
      this.bumps = bumps.map((b) => ({ ...b, weight: b.weight / sum }));
    }

    // Calls `tell(i, mean of x0, log density)` for each point of `x` at the scales alpha and sigma.
    posterior(x, alpha, sigma, tell) {
      const { bumps } = this, k = bumps.length, log = new Float64Array(k);
      const spread = bumps.map((b) => alpha * alpha * b.std * b.std + sigma * sigma);
      const base = bumps.map((b, j) => Math.log(b.weight) - Math.log(2 * Math.PI * spread[j]));
      const gain = bumps.map((b, j) => alpha * b.std * b.std / spread[j]);
      for (let i = 0; i < x.length; i += 2) {
        let top = -Infinity;
        for (let j = 0; j < k; j++) {
          const dx = x[i] - alpha * bumps[j].x, dy = x[i + 1] - alpha * bumps[j].y;
          log[j] = base[j] - (dx * dx + dy * dy) / (2 * spread[j]);
          if (log[j] > top) top = log[j];
        }
        let sum = 0, mx = 0, my = 0;
        for (let j = 0; j < k; j++) {
          const w = Math.exp(log[j] - top), b = bumps[j];
          sum += w;
          mx += w * (b.x + gain[j] * (x[i] - alpha * b.x));
          my += w * (b.y + gain[j] * (x[i + 1] - alpha * b.y));
        }
        tell(i, mx / sum, my / sum, top + Math.log(sum));
      }
    }

    denoise(x, alpha, sigma) {
      const x0 = new Float64Array(x.length);
      this.posterior(x, alpha, sigma, (i, mx, my) => { x0[i] = mx; x0[i + 1] = my; });
      return x0;
    }

    logProb(x, alpha = 1, sigma = 0) {
      const value = new Float64Array(x.length / 2);
      this.posterior(x, alpha, sigma, (i, mx, my, log) => { value[i / 2] = log; });
      return value;
    }

    score(x, alpha, sigma) {  // (alpha E[x0 | x] - x) / sigma^2
      const slope = this.denoise(x, alpha, sigma);
      for (let i = 0; i < x.length; i++) slope[i] = (alpha * slope[i] - x[i]) / (sigma * sigma);
      return slope;
    }

    sample(n, chance) {
      const x = new Float64Array(2 * n);
      for (let i = 0; i < n; i++) {
        let u = chance.uniform(), j = 0;
        while (j < this.bumps.length - 1 && u >= this.bumps[j].weight) u -= this.bumps[j++].weight;
        const b = this.bumps[j];
        x[2 * i] = b.x + b.std * chance.normal();
        x[2 * i + 1] = b.y + b.std * chance.normal();
      }
      return x;
    }
  }

  // ---- grids: n steps from t = 1 to t = 0
  function even(n, measure, back, schedule) {  // even in a measure of the level from that at t = 1, 1000 at most, to 0.002; then one step to 0
    const top = measure(Math.min(1e3, schedule.sigma(1) / schedule.alpha(1))), low = measure(0.002), times = [1];
    for (let k = 1; k < n; k++) times.push(schedule.timeAt(back(top + (low - top) * k / (n - 1))));
    return [...times, 0];
  }
  const grids = {
    uniform: (schedule, n) => Array.from({ length: n + 1 }, (_, k) => 1 - k / n),
    'log SNR': (schedule, n) => even(n, Math.log, Math.exp, schedule),
    Karras: (schedule, n) => even(n, (level) => level ** (1 / 7), (root) => root ** 7, schedule),
  };

  // ---- step rules: (schedule, denoise, x, t, s, {eta, noise, past}) -> x at the earlier time s
  const mix = (p, x, q, y) => { const z = new Float64Array(x.length); for (let i = 0; i < z.length; i++) z[i] = p * x[i] + q * y[i]; return z; };
  const scales = (schedule, t) => [schedule.alpha(t), schedule.sigma(t)];
  function posterior(schedule, t, s) {  // factors of x_t and x0, and the standard deviation, of q(x_s | x_t, x0)
    const [at, st] = scales(schedule, t), [as, ss] = scales(schedule, s), ratio = at / as, fresh = st * st - ratio * ratio * ss * ss;
    return [ratio * ss * ss / (st * st), as * fresh / (st * st), ss / st * Math.sqrt(Math.max(fresh, 0))];
  }
  const velocity = (schedule, x, x0, t) => {
    const [a, s] = scales(schedule, t), pull = schedule.sigmaDot(t) / s;
    return mix(pull, x, schedule.alphaDot(t) - a * pull, x0);
  };
  const solvers = {
    ancestral(schedule, denoise, x, t, s, { noise }) {
      const [a, b, std] = posterior(schedule, t, s), y = mix(a, x, b, denoise(x, t));
      return std > 0 ? mix(1, y, std, noise(x.length)) : y;
    },
    DDIM(schedule, denoise, x, t, s, { eta = 0, noise }) {
      const [at, st] = scales(schedule, t), [as, ss] = scales(schedule, s), std = eta * posterior(schedule, t, s)[2];
      const kept = Math.sqrt(Math.max(ss * ss - std * std, 0)), y = mix(kept / st, x, as - kept * at / st, denoise(x, t));
      return std > 0 ? mix(1, y, std, noise(x.length)) : y;
    },
    Euler(schedule, denoise, x, t, s) {
      return mix(1, x, s - t, velocity(schedule, x, denoise(x, t), t));
    },
    Heun(schedule, denoise, x, t, s) {
      const here = velocity(schedule, x, denoise(x, t), t), guess = mix(1, x, s - t, here);
      if (schedule.sigma(s) === 0) return guess;
      const there = velocity(schedule, guess, denoise(guess, s), s);
      return mix(1, x, (s - t) / 2, mix(1, here, 1, there));
    },
    'DPM-Solver++(2M)'(schedule, denoise, x, t, s, { past = [] }) {
      const clock = (u) => Math.log(schedule.alpha(u)) - Math.log(schedule.sigma(u));
      const x0 = denoise(x, t), h = clock(s) - clock(t);
      let foreseen = x0;
      if (past.length) {
        const [u, before] = past[0], ahead = schedule.sigma(s) > 0 ? h / 2 / (clock(t) - clock(u)) : 0;
        foreseen = mix(1 + ahead, x0, -ahead, before);
      }
      past[0] = [t, x0];
      return mix(schedule.sigma(s) / schedule.sigma(t), x, -schedule.alpha(s) * Math.expm1(-h), foreseen);
    },
  };

  // All states of a walk, the start among them.
  function walk({ mixture, schedule, solver, times, x, eta = 0, noise, denoise }) {
    denoise ??= (y, t) => mixture.denoise(y, schedule.alpha(t), schedule.sigma(t));
    const states = [x], memory = { eta, noise, past: [] };
    for (let k = 0; k + 1 < times.length; k++) states.push(solver(schedule, denoise, states[k], times[k], times[k + 1], memory));
    return states;
  }

  // The error function to double precision: its series, and the continued fraction of its complement far out.
  function erf(x) {
    const z = Math.abs(x);
    if (z > 6) return Math.sign(x);
    if (z < 2.5) {
      let term = z, sum = z;
      for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) { term *= 2 * z * z / (2 * n + 1); sum += term; }
      return Math.sign(x) * 2 / Math.sqrt(Math.PI) * Math.exp(-z * z) * sum;
    }
    let f = 0;
    for (let n = 60; n > 0; n--) f = n / 2 / (z + f);
    return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + f));
  }

  // Sliced Wasserstein-1 distance of a cloud to the exact mixture: in each of `directions`, the area between the cloud's steps and
  // the mixture's distribution function, which in one dimension is how far mass has to move; then the mean over the directions.
  function slicedDistance(mixture, directions = 16, cells = 600) {
    const slices = Array.from({ length: directions }, (_, k) => {
      const angle = Math.PI * k / directions, u = Math.cos(angle), v = Math.sin(angle);
      const at = mixture.bumps.map((b) => u * b.x + v * b.y), low = Math.min(...at) - 3, high = Math.max(...at) + 3, cell = (high - low) / cells;
      const below = Float64Array.from({ length: cells }, (_, i) => {
        const place = low + (i + 0.5) * cell;
        return mixture.bumps.reduce((sum, b, j) => sum + b.weight * (1 + erf((place - at[j]) / (b.std * Math.SQRT2))) / 2, 0);
      });
      return { u, v, low, cell, below };
    });
    return (x) => {
      let total = 0;
      for (const { u, v, low, cell, below } of slices) {
        const at = new Float64Array(x.length / 2);
        for (let i = 0; i < at.length; i++) at[i] = u * x[2 * i] + v * x[2 * i + 1];
        at.sort();
        for (let i = 0, k = 0; i < cells; i++) {
          while (k < at.length && at[k] < low + (i + 0.5) * cell) k++;
          total += Math.abs(k / at.length - below[i]) * cell;
        }
      }
      return total / directions;
    };
  }

  Object.assign(live, { random, schedules, tables, Mixture, grids, solvers, walk, erf, slicedDistance });
})();
