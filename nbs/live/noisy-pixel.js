// One noisy pixel: what was believed before, what was seen, and what to believe after. Below the three bells the same as a balance,
// on the same axis: each bell is a weight as heavy as it is precise, and the beam rests on the best guess.
'use strict';
(() => {
  const live = globalThis.live, REACH = 4, MEAN = 0;  // the axis, and the mean of the prior; the signal scale is one

  // ---- arithmetic
  const bell = (x, mean, variance) => Math.exp(-((x - mean) ** 2) / (2 * variance)) / Math.sqrt(2 * Math.PI * variance);
  function look(prior, noise, seen) {  // the variances of prior and noise, and the value seen
    const precisions = [1 / prior, 1 / noise, 1 / prior + 1 / noise], gain = prior / (prior + noise);
    return { precisions, gain, mean: MEAN + gain * (seen - MEAN), variance: 1 / precisions[2] };
  }

  const VARIANCES = [0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 10];
  const short = (v) => `${+v.toPrecision(2)}`.replace('-', '−');

  live.figure('noisy-pixel', (frame) => {
    const { state } = frame, { text, line, area } = frame.pen(), narrow = frame.host.clientWidth < 600, WIDTH = narrow ? 330 : 700, HEIGHT = 440;
    const FLOOR = 212, BEAM = 316, BARS = 378;  // heights of the bells' axis, the beam and the bars
    const px = (v) => WIDTH / 2 + v * (WIDTH / 2 - 12) / REACH;
    let now, bells;

    const canvas = frame.canvas({ width: WIDTH, height: HEIGHT, draw, label: 'Three bell curves over one axis, prior, look and posterior; below them a beam with two weights that balances at the best guess; and three bars of precision, two of which add up to the third.' });
    canvas.style.cursor = 'ew-resize';
    frame.slider({ name: 'seen', label: 'value seen', min: -3.5, max: 3.5, step: 0.05, value: 2, show: (v) => v.toFixed(2).replace('-', '−'), big: true });
    frame.slider({ name: 'prior', label: 'prior variance', values: VARIANCES, value: 1 });
    frame.slider({ name: 'noise', label: 'noise variance', values: VARIANCES, value: 0.25 });
    frame.permalink();
    const say = frame.readout();

    function renew() {
      now = look(state.prior, state.noise, state.seen);
      bells = [['data', MEAN, state.prior], ['mark', state.seen, state.noise], ['truth', now.mean, now.variance]];
      say(`The best guess goes ${Math.round(100 * now.gain)}% of the way from ${MEAN}, which was expected, to ${short(state.seen)}, which was seen: it is ${now.mean.toFixed(2).replace('-', '−')}. `
        + `The variance that is left is ${short(now.variance)}, less than the ${short(state.prior)} of the prior and the ${short(state.noise)} of the noise.`);
    }
    frame.changed = renew;

    const box = (c, x, y, w, h, colour) => area(c, [[x, y], [x + w, y], [x + w, y + h], [x, y + h]], colour, 0.85);

    function draw(c) {
      drawBells(c);
      drawBeam(c);
      drawBars(c);
    }
    function drawBells(c) {
      const peak = Math.max(1, ...bells.map(([, mean, variance]) => bell(mean, mean, variance))), py = (p) => FLOOR - p / peak * (FLOOR - 36);
      const places = Array.from({ length: 401 }, (_, k) => (k / 200 - 1) * REACH);
      for (const [colour, mean, variance] of bells) {
        const curve = places.map((v) => [px(v), py(bell(v, mean, variance))]);
        area(c, [[px(-REACH), FLOOR], ...curve, [px(REACH), FLOOR]], colour, 0.14);
        line(c, curve, colour, 2);
      }
      line(c, [[px(now.mean), py(bell(0, 0, now.variance))], [px(now.mean), FLOOR]], 'truth', 1.5, [3, 4]);  // goes on to the beam
      line(c, [[0, FLOOR], [WIDTH, FLOOR]], 'faint', 1);
      for (let v = 1 - REACH; v < REACH; v++) text(c, short(v), px(v), FLOOR + 17, { align: 'center' });
      let at = 2;
      for (const [colour, word] of [['data', 'prior'], ['mark', 'look (likelihood)'], ['truth', 'posterior']]) {
        box(c, at, 7, 12, 12, colour);
        at += 18 + text(c, word, at + 17, 17) + 14;
      }
    }
    function drawBeam(c) {
      const [from, to] = [Math.min(MEAN, state.seen), Math.max(MEAN, state.seen)], at = px(now.mean);
      line(c, [[at, FLOOR + 24], [at, BEAM]], 'truth', 1.5, [3, 4]);
      line(c, [[px(from) - 30, BEAM], [px(to) + 30, BEAM]], 'ink', 4);
      [[MEAN, 'data'], [state.seen, 'mark']].forEach(([place, colour], k) => {  // the area of a weight is its precision
        const side = 24 * Math.sqrt(now.precisions[k]);
        box(c, px(place) - side / 2, BEAM - 3 - side, side, side, colour);
      });
      area(c, [[at, BEAM + 3], [at - 12, BEAM + 22], [at + 12, BEAM + 22]], 'truth');
      const words = `best guess ${now.mean.toFixed(2).replace('-', '−')}`, right = at + 20 + 110 < WIDTH;
      text(c, words, right ? at + 18 : at - 18, BEAM + 21, { align: right ? 'left' : 'right', bold: true });
    }
    function drawBars(c) {  // the precisions add
      const start = 90, [prior, seen, both] = now.precisions, scale = (WIDTH - start - 70) / 10;
      text(c, 'precisions', 2, BARS + 14);
      text(c, 'add up to', 2, BARS + 42);
      box(c, start, BARS, prior * scale, 20, 'data');
      box(c, start + prior * scale, BARS, seen * scale, 20, 'mark');
      box(c, start, BARS + 28, both * scale, 20, 'truth');
      text(c, `${short(prior)} + ${short(seen)}`, start + both * scale + 6, BARS + 14);
      text(c, short(both), start + both * scale + 6, BARS + 42, { bold: true });
    }

    // The pointer moves what was seen.
    const move = (e) => { frame.set('seen', Math.max(-3.5, Math.min(3.5, Math.round((frame.at(canvas, e, WIDTH)[0] - px(0)) / (px(1) - px(0)) * 20) / 20))); };
    canvas.addEventListener('pointerdown', (e) => { canvas.setPointerCapture(e.pointerId); move(e); });
    canvas.addEventListener('pointermove', (e) => { if (canvas.hasPointerCapture(e.pointerId)) move(e); });

    renew();
    frame.values = () => ({ ...now, bells: bells.map(([, mean, variance]) => [-2, -0.5, 0, 1, 2.5].map((x) => bell(x, mean, variance))) });
  });
})();
