// needs mixture
// Straight and curved: exact paths from noise to data on two schedules and after reflow, and what Euler's method makes of each.
'use strict';
(() => {
  const live = globalThis.live, WIDE = 560, HIGH = 400, N = 64, FINE = 100;

  // ---- arithmetic: worlds of one and of two dimensions; states are flat arrays, times fall from 1 (noise) to 0 (data)
  class Line {  // a mixture on the line
    constructor(bumps) { this.bumps = bumps; this.d = 1; }
    at(x, alpha, sigma) {  // the mean of x0, the density, and the share below x
      let below = 0, density = 0, mean = 0;
      for (const b of this.bumps) {
        const spread = alpha * alpha * b.std * b.std + sigma * sigma, off = x - alpha * b.x, p = b.weight * Math.exp(-off * off / (2 * spread)) / Math.sqrt(2 * Math.PI * spread);
        below += b.weight * (1 + live.erf(off / Math.sqrt(2 * spread))) / 2;
        density += p;
        mean += p * (b.x + alpha * b.std * b.std / spread * off);
      }
      return { below, density, mean: mean / density };
    }
    denoise(x, alpha, sigma) { return x.map((v) => this.at(v, alpha, sigma).mean); }
    quantile(share, alpha, sigma, guess) {  // Newton's method, by halves where it would leave the bracket
      let low = -8, high = 8, x = guess;
      for (let k = 0; k < 100; k++) {
        const { below, density } = this.at(x, alpha, sigma);
        if (below < share) low = x; else high = x;
        let next = x - (below - share) / density;
        if (!(next > low && next < high)) next = (low + high) / 2;
        if (Math.abs(next - x) < 1e-14) return next;
        x = next;
      }
      return x;
    }
    flow(schedule, eps, times) {  // paths on a line never cross, so they keep the share below them
      const shares = eps.map((e) => (1 + live.erf(e / Math.SQRT2)) / 2), states = [];
      for (const t of times) states.push(eps.map((e, i) => this.quantile(shares[i], schedule.alpha(t), schedule.sigma(t), states.length ? states[states.length - 1][i] : e)));
      return states;
    }
  }
  class Plane extends live.Mixture {
    d = 2;
    flow(schedule, eps, times) {  // Runge and Kutta, four steps between two times
      const move = (x, h, u) => x.map((v, i) => v + h * u[i]), states = [eps];
      const velocity = (x, t) => move(live.solvers.Euler(schedule, (y) => this.denoise(y, schedule.alpha(t), schedule.sigma(t)), x, t, t + 1), -1, x);
      for (let k = 1; k < times.length; k++) {
        let x = states[k - 1];
        for (let j = 0; j < 4; j++) {
          const t = times[k - 1] + (times[k] - times[k - 1]) * j / 4, h = (times[k] - times[k - 1]) / 4, last = Math.max(t + h, 1e-5);
          const a = velocity(x, t), b = velocity(move(x, h / 2, a), t + h / 2), c = velocity(move(x, h / 2, b), t + h / 2), d = velocity(move(x, h, c), last);
          x = x.map((v, i) => v + h / 6 * (a[i] + 2 * b[i] + 2 * c[i] + d[i]));
        }
        states.push(x);
      }
      return states;
    }
  }
  const even = (n) => Array.from({ length: n + 1 }, (_, k) => 1 - k / n);
  const join = (end, eps, times) => times.map((t) => eps.map((e, i) => (1 - t) * end[i] + t * e));  // partners by a line
  function straightness(times, states, d) {  // per path; 0 is straight at constant speed
    const last = states.length - 1, span = times[last] - times[0], total = new Float64Array(states[0].length / d);
    for (let k = 0; k < last; k++) for (let i = 0; i < states[0].length; i++) {
      const h = times[k + 1] - times[k], off = (states[k + 1][i] - states[k][i]) / h - (states[last][i] - states[0][i]) / span;
      total[Math.floor(i / d)] += h / span * off * off / d;
    }
    return total;
  }
  const VP = 'cosine (VP)', FLOW = 'rectified flow', AGAIN = 'after reflow';
  const schedules = { [VP]: live.schedules.cosine, [FLOW]: live.schedules.straight };
  function paths(world, kind, eps, times) {  // the exact ones
    return kind === AGAIN ? join(world.flow(schedules[FLOW], eps, even(FINE))[FINE], eps, times) : world.flow(schedules[kind], eps, times);
  }
  function euler(world, kind, eps, n) {  // through a point of the reflowed lines passes one line only, so its velocity is the learned one
    if (kind === AGAIN) return paths(world, kind, eps, even(n));
    const schedule = schedules[kind];
    return live.walk({ schedule, solver: live.solvers.Euler, times: even(n), x: eps, denoise: (x, t) => world.denoise(x, schedule.alpha(t), schedule.sigma(t)) });
  }
  const apart = (x, y, d) => Math.sqrt(x.reduce((sum, v, i) => sum + (v - y[i]) ** 2, 0) / (x.length / d));  // root mean square
  const three = new Line([{ x: -1.8, std: 0.25, weight: 0.3 }, { x: 0.2, std: 0.45, weight: 0.5 }, { x: 1.6, std: 0.3, weight: 0.2 }]);
  const ring = new Plane(Array.from({ length: 8 }, (_, k) => ({ x: 1.4 * Math.cos(Math.PI * k / 4), y: 1.4 * Math.sin(Math.PI * k / 4), std: 0.12, weight: 1 })));
  live.straight = { Line, Plane, even, paths, euler, straightness, apart };

  // ---- the figure
  const ON = 'on a line', IN = 'in the plane';
  const normal = new Line([{ x: 0, std: 1, weight: 1 }]), chance = live.random(61);
  const crowds = {
    [ON]: Float64Array.from({ length: N }, (_, k) => normal.quantile((k + 0.5) / N, 1, 0, 0)),  // evenly distributed
    [IN]: Float64Array.from({ length: 2 * N }, () => chance.normal()),
  };
  live.figure('straight', (frame) => {
    const { state } = frame, kept = {}, times = even(FINE);
    const start = [frame.linked('x') ? +frame.linked('x') : 0.5, frame.linked('y') ? +frame.linked('y') : -0.9];
    let world, crowd, own, measured;

    const canvas = frame.canvas({ width: WIDE, height: HIGH, focus: true, draw,
      label: 'Paths from noise to data: exact ones green, the walk of Euler\'s method orange. The large point can be moved by dragging or with the arrow keys.' });
    canvas.dataset.drag = '';
    frame.slider({ name: 'steps', label: 'Euler steps', values: [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64], value: 1, big: true });
    frame.choice({ name: 'paths', label: 'Paths', options: [VP, FLOW, AGAIN], value: FLOW });
    frame.choice({ name: 'where', label: 'Data', options: [ON, IN], value: ON });
    frame.slider({ name: 'at', label: 'Time', max: 1, step: 0.01, value: 1, show: (v) => `t = ${(1 - v).toFixed(2)}` });
    frame.player('Walk', (dt) => { const v = Math.min(state.at + dt / 3, 1); frame.controls.at.set(v); return v < 1; }, { onstart: () => frame.controls.at.set(0) });
    frame.permalink(() => ({ x: start[0].toFixed(2), y: start[1].toFixed(2) }));
    const say = frame.readout();

    const both = (eps) => ({ eps, exact: paths(world, state.paths, eps, times), walk: euler(world, state.paths, eps, state.steps) });
    const end = (states) => states[states.length - 1];
    function renew() {
      world = state.where === ON ? three : ring;
      crowd = kept[[state.where, state.paths, state.steps]] ??= both(crowds[state.where]);
      mark();
    }
    function mark() {
      own = both(Float64Array.from(start.slice(2 - world.d)));  // on the line the height of the point is its place
      measured = { error: apart(end(crowd.walk), end(crowd.exact), world.d), far: apart(end(own.walk), end(own.exact), world.d),
        straightness: straightness(times, crowd.exact, world.d).reduce((a, b) => a + b) / N };
      say(`${state.steps === 1 ? 'One Euler step ends' : `${state.steps} Euler steps end`} ${measured.error.toFixed(3)} from the exact ends (root mean square of ${N} points), `
        + `the large point ${measured.far.toFixed(3)}. Straightness S = ${measured.straightness.toFixed(3)}; straight would be 0.`);
    }
    frame.changed = (name) => { if (name !== 'at') renew(); };

    // States between two of the list, at the share v of the way.
    function between(states, v) {
      const place = v * (states.length - 1), k = Math.min(Math.floor(place), states.length - 2);
      return states[k].map((x, i) => x + (place - k) * (states[k + 1][i] - x));
    }
    const LEFT = 62, RIGHT = 62, zoom = () => HIGH / (world.d === 1 ? 5.8 : 5), py = (y) => HIGH / 2 - y * zoom();
    const across = (v) => LEFT + (WIDE - LEFT - RIGHT) * v, flat = (x) => WIDE / 2 + x * zoom();
    const place = (x, i, v) => world.d === 1 ? [across(v), py(x[i])] : [flat(x[2 * i]), py(x[2 * i + 1])];
    function trace(c, states, i, colour, width, alpha, upto = 1, dash = []) {
      c.strokeStyle = frame.colour(colour); c.lineWidth = width; c.globalAlpha = alpha; c.setLineDash(dash);
      c.beginPath();
      const n = states.length - 1, last = upto * n;
      for (let k = 0; k <= last; k++) c.lineTo(...place(states[k], i, k / n));
      c.lineTo(...place(between(states, upto), i, upto));
      c.stroke(); c.globalAlpha = 1; c.setLineDash([]);
    }
    function dot(c, [x, y], r, colour) { c.fillStyle = frame.colour(colour); c.beginPath(); c.arc(x, y, r, 0, 7); c.fill(); }
    function draw(c) {
      const v = state.at, flatWorld = world.d === 1;
      shade(c);
      if (flatWorld) edges(c);
      for (let i = 0; i < N; i += flatWorld ? 2 : 1) {
        trace(c, crowd.exact, i, 'truth', 1.1, 0.6, flatWorld ? 1 : v);
        trace(c, crowd.walk, i, 'mark', 1.1, 0.45, v);
      }
      const here = between(crowd.exact, v), walker = between(crowd.walk, v);
      for (let i = 0; i < N; i += flatWorld ? 2 : 1) {
        if (!flatWorld) dot(c, place(crowd.eps, i, 0), 1.8, 'noise');
        dot(c, place(here, i, v), 3.4, 'truth');
        dot(c, place(walker, i, v), 2.3, 'mark');
      }
      trace(c, own.exact, 0, 'truth', 2.5, 1);
      trace(c, own.walk, 0, 'mark', 2.5, 1);
      own.walk.forEach((x, k) => dot(c, place(x, 0, k / state.steps), 3, 'mark'));
      dot(c, place(between(own.exact, v), 0, v), 5, 'truth');
      dot(c, place(between(own.walk, v), 0, v), 7, 'mark');
      words(c);
    }
    function words(c) {
      c.font = '15px system-ui, sans-serif';
      const write = (text, x, y, colour, align) => { c.fillStyle = frame.colour(colour); c.textAlign = align; c.fillText(text, x, y); };
      if (world.d === 1) { write('noise', 6, 18, 'noise', 'left'); write('data', WIDE - 6, 18, 'data', 'right'); }
      write('exact', 6, HIGH - 28, 'truth', 'left'); write('Euler', 6, HIGH - 8, 'mark', 'left');
    }
    function edges(c) {  // the densities at both ends
      for (const [law, x, sign, colour] of [[normal, LEFT - 4, -1, 'noise'], [three, WIDE - RIGHT + 4, 1, 'data']]) {
        c.beginPath(); c.moveTo(x, HIGH);
        for (let y = -3; y <= 3; y += 0.02) c.lineTo(x + sign * 100 * law.at(y, 1, 0).density, py(y));
        c.lineTo(x, 0);
        c.fillStyle = c.strokeStyle = frame.colour(colour);
        c.globalAlpha = 0.25; c.fill(); c.globalAlpha = 1; c.stroke();
      }
    }
    const image = document.createElement('canvas'), cols = 110, rows = 100, images = {};
    image.width = cols; image.height = rows;
    function density() {  // of all paths over time, or of the data in the plane; row by row
      const p = new Float64Array(cols * rows), spot = (r) => (0.5 - (r + 0.5) / rows) * HIGH / zoom();
      if (world.d === 2) return p.map((_, i) => Math.exp(world.logProb(Float64Array.of(((i % cols + 0.5) / cols - 0.5) * WIDE / zoom(), spot(Math.floor(i / cols))))[0]));
      const lines = Float64Array.from({ length: 401 }, (_, k) => (k - 200) / 50), ends = three.flow(schedules[FLOW], lines, even(FINE))[FINE];
      for (let q = 0; q < cols; q++) {
        const t = 1 - q / (cols - 1);
        if (state.paths !== AGAIN) { for (let r = 0; r < rows; r++) p[r * cols + q] = three.at(spot(r), schedules[state.paths].alpha(t), schedules[state.paths].sigma(t)).density; continue; }
        const on = lines.map((e, k) => (1 - t) * ends[k] + t * e);  // the noise between two lines is the mass between them
        for (let r = 0, k = 400; r < rows; r++) {
          while (k > 1 && on[k - 1] > spot(r)) k--;
          p[r * cols + q] = normal.at((lines[k] + lines[k - 1]) / 2, 1, 0).density * 0.02 / (on[k] - on[k - 1]);
        }
      }
      return p;
    }
    function shade(c) {
      const p = images[[state.where, state.paths]] ??= density(), pen = image.getContext('2d'), data = pen.createImageData(cols, rows), ink = frame.colour('noise').match(/\w\w/g).map((h) => parseInt(h, 16));
      p.forEach((v, i) => data.data.set([...ink, 150 * (1 - Math.exp(-1.5 * v))], 4 * i));
      pen.putImageData(data, 0, 0);
      if (world.d === 1) c.drawImage(image, LEFT, 0, WIDE - LEFT - RIGHT, HIGH); else c.drawImage(image, 0, 0, WIDE, HIGH);
    }

    // The large point follows the pointer and the arrow keys.
    const limit = (v, most) => Math.max(-most, Math.min(most, v));
    const put = (x, y) => { start[0] = limit(x, 3); start[1] = limit(y, 2.4); mark(); frame.paint(); };
    const where = (e) => { const [a, b] = frame.at(canvas, e, WIDE); return [world.d === 1 ? start[0] : (a - WIDE / 2) / zoom(), (HIGH / 2 - b) / zoom()]; };
    let held = false;
    canvas.addEventListener('pointerdown', (e) => { held = true; canvas.setPointerCapture(e.pointerId); put(...where(e)); });
    canvas.addEventListener('pointermove', (e) => { if (held) put(...where(e)); });
    for (const over of ['pointerup', 'pointercancel']) canvas.addEventListener(over, () => { held = false; });
    canvas.addEventListener('keydown', (e) => {
      const way = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[e.key];
      if (way) { e.preventDefault(); put(start[0] + way[0], start[1] + way[1]); }
    });

    renew();
    frame.values = () => ({ ...measured, start: [...own.eps], end: [...end(own.walk)], exact: [...end(own.exact)], crowd: [...crowd.eps] });
  });
})();
