// The network of chapters 22 and 23, forward only, on one picture at a time: residual blocks, attention, halving and doubling. What it
// computes is what diffbook.nets.unet computes with the same weights; tests/web holds the two together. No document in here, and the
// whole of it is one function, so that a worker can be made from its text.
'use strict';
(() => {
  const live = globalThis.live ??= {};

  function makeUNet({ layout, tensors, bytes, floats }) {
    // ---- weights: a tensor of rows in whole bytes with a scale for each row, everything else as it is
    const weights = {};
    let atByte = 0, atFloat = 0;
    for (const [name, rows, columns] of tensors) {
      if (columns) {
        const w = new Float32Array(rows * columns);
        for (let r = 0; r < rows; r++) {
          const scale = floats[atFloat++];
          for (let c = 0; c < columns; c++) w[r * columns + c] = scale * bytes[atByte++];
        }
        weights[name] = w;
      } else weights[name] = floats.subarray(atFloat, atFloat += rows);
    }

    // ---- products of matrices. Both factors lie in strips of four: w as [rows / 4][k][4], x as [columns / 4][k][4], so that the inner
    // loop reads two runs of memory and keeps sixteen sums in registers.
    function inStrips(w, k) {
      const rows = w.length / k, strips = new Float32Array(Math.ceil(rows / 4) * 4 * k);
      for (let r = 0; r < rows; r++) for (let j = 0; j < k; j++) strips[(r >> 2) * 4 * k + 4 * j + (r & 3)] = w[r * k + j];
      return strips;
    }
    function put(y, bias, row, columns, p, last, s0, s1, s2, s3) {
      const i = row * columns + p, b = bias[row];
      y[i] = s0 + b;
      if (last > 1) y[i + 1] = s1 + b;
      if (last > 2) y[i + 2] = s2 + b;
      if (last > 3) y[i + 3] = s3 + b;
    }
    function product(w, x, k, rows, columns, bias) {  // -> (rows, columns)
      const y = new Float32Array(rows * columns), wide = Math.ceil(columns / 4) * 4;
      for (let p = 0; p < wide; p += 4) {
        for (let o = 0; o < rows; o += 4) {
          let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0, c0 = 0, c1 = 0, c2 = 0, c3 = 0, d0 = 0, d1 = 0, d2 = 0, d3 = 0;
          for (let i = o * k, j = p * k, end = i + 4 * k; i < end; i += 4, j += 4) {
            const x0 = x[j], x1 = x[j + 1], x2 = x[j + 2], x3 = x[j + 3], a = w[i], b = w[i + 1], c = w[i + 2], d = w[i + 3];
            a0 += a * x0; a1 += a * x1; a2 += a * x2; a3 += a * x3;
            b0 += b * x0; b1 += b * x1; b2 += b * x2; b3 += b * x3;
            c0 += c * x0; c1 += c * x1; c2 += c * x2; c3 += c * x3;
            d0 += d * x0; d1 += d * x1; d2 += d * x2; d3 += d * x3;
          }
          const last = columns - p;  // how many of the four columns there are
          put(y, bias, o, columns, p, last, a0, a1, a2, a3);
          put(y, bias, o + 1, columns, p, last, b0, b1, b2, b3);
          put(y, bias, o + 2, columns, p, last, c0, c1, c2, c3);
          put(y, bias, o + 3, columns, p, last, d0, d1, d2, d3);
        }
      }
      return y;
    }

    // ---- layers: an image is {data, c, side}, its channels one after the other
    const image = (data, c, side) => ({ data, c, side });
    const strips = {}, places = {};
    const stripsOf = (name, k) => strips[name] ??= inStrips(weights[`${name}.weight`], k);
    function placesOf(side, out, { stride, twice, reach }) {  // which pixel each tap of the kernel reads for each pixel that leaves, -1 for none
      return places[[side, out, stride, twice, reach]] ??= (() => {
        const table = [], inside = twice ? 2 * side : side;
        for (let a = -reach; a <= reach; a++) for (let b = -reach; b <= reach; b++) for (let p = 0; p < out * out; p++) {
          const row = stride * Math.floor(p / out) + a, column = stride * (p % out) + b, there = row >= 0 && row < inside && column >= 0 && column < inside;
          table.push(!there ? -1 : twice ? (row >> 1) * side + (column >> 1) : row * side + column);
        }
        return Int32Array.from(table);
      })();
    }
    function conv(name, x, { stride = 1, twice = false } = {}) {  // 3 x 3 or 1 x 1; `twice`: of each pixel repeated
      const bias = weights[`${name}.bias`], rows = bias.length, taps = weights[`${name}.weight`].length / rows / x.c, k = x.c * taps, { side } = x;
      const out = twice ? 2 * side : Math.ceil(side / stride), n = out * out, from = placesOf(side, out, { stride, twice, reach: taps === 9 ? 1 : 0 });
      const columns = new Float32Array(Math.ceil(n / 4) * 4 * k);
      for (let c = 0; c < x.c; c++) for (let tap = 0; tap < taps; tap++) {
        const base = c * side * side, j = 4 * (c * taps + tap);
        for (let p = 0, at = tap * n; p < n; p++, at++) { const i = from[at]; if (i >= 0) columns[(p >> 2) * 4 * k + j + (p & 3)] = x.data[base + i]; }
      }
      return image(product(stripsOf(name, k), columns, k, rows, n, bias), rows, out);
    }
    function linear(name, x, k) {  // of one vector
      const w = weights[`${name}.weight`], y = Float32Array.from(weights[`${name}.bias`]);
      for (let r = 0, i = 0; r < y.length; r++) { let sum = 0; for (let j = 0; j < k; j++) sum += w[i++] * x[j]; y[r] += sum; }
      return y;
    }
    function norm(name, x) {  // GroupNorm
      const gain = weights[`${name}.weight`], shift = weights[`${name}.bias`], n = x.side * x.side, size = x.c / layout.groups * n, y = new Float32Array(x.data.length);
      for (let g = 0; g < layout.groups; g++) {
        let sum = 0, squares = 0;
        for (let i = g * size; i < (g + 1) * size; i++) sum += x.data[i];
        const mean = sum / size;
        for (let i = g * size; i < (g + 1) * size; i++) squares += (x.data[i] - mean) ** 2;
        const scale = 1 / Math.sqrt(squares / size + layout.eps);
        for (let i = g * size; i < (g + 1) * size; i++) { const c = Math.floor(i / n); y[i] = (x.data[i] - mean) * scale * gain[c] + shift[c]; }
      }
      return image(y, x.c, x.side);
    }
    const silu = (v) => { for (let i = 0; i < v.length; i++) v[i] /= 1 + Math.exp(-v[i]); return v; };
    const hot = (x) => image(silu(x.data), x.c, x.side);
    const stack = (x, y) => { const both = new Float32Array(x.data.length + y.data.length); both.set(x.data); both.set(y.data, x.data.length); return image(both, x.c + y.c, x.side); };
    const add = (x, y) => { for (let i = 0; i < x.data.length; i++) x.data[i] += y.data[i]; return x; };

    function block(name, x, told) {  // ResBlock: told holds a scale and a shift for each channel
      const h = norm(`${name}.norm2`, conv(`${name}.conv1`, hot(norm(`${name}.norm1`, x)))), n = h.side * h.side;
      for (let i = 0; i < h.data.length; i++) { const c = Math.floor(i / n); h.data[i] = h.data[i] * (1 + told[c]) + told[h.c + c]; }
      return add(conv(`${name}.conv2`, hot(h)), weights[`${name}.skip.weight`] ? conv(`${name}.skip`, x) : x);
    }
    function attention(name, x, heads) {  // SelfAttention: every pixel gathers from all the others
      const n = x.side * x.side, d = x.c / heads, { data } = conv(`${name}.qkv`, norm(`${name}.norm`, x)), mixed = new Float32Array(x.c * n), share = new Float64Array(n);
      for (let head = 0; head < heads; head++) for (let p = 0; p < n; p++) {
        const q = head * d * n, k = q + x.c * n, v = k + x.c * n;
        let top = -Infinity, sum = 0;
        for (let o = 0; o < n; o++) {
          let dot = 0;
          for (let c = 0; c < d; c++) dot += data[q + c * n + p] * data[k + c * n + o];
          share[o] = dot / Math.sqrt(d);
          if (share[o] > top) top = share[o];
        }
        for (let o = 0; o < n; o++) sum += share[o] = Math.exp(share[o] - top);
        for (let c = 0; c < d; c++) { let total = 0; for (let o = 0; o < n; o++) total += share[o] * data[v + c * n + o]; mixed[q + c * n + p] = total / sum; }
      }
      return add(conv(`${name}.out`, image(mixed, x.c, x.side)), x);
    }

    // ---- what the blocks are told of the noise level: the angles are rounded as the package rounds them, to single precision
    let known, said;
    function told(level) {
      if (level === known) return said;
      const half = layout.channels[0] / 2, round = Math.fround, waves = new Float32Array(2 * half);
      for (let i = 0; i < half; i++) {
        const angle = round(round(level) * round(Math.exp(round(round(round(-Math.log(1e4)) * i) / (half - layout.shift)))));
        waves[i] = Math.sin(angle); waves[half + i] = Math.cos(angle);
      }
      const wide = 4 * layout.channels[0];
      known = level;
      return said = linear('tell', silu(linear('time.2', silu(linear('time.0', waves, 2 * half)), wide)), wide);
    }
    const fold = (x, side, patch) => {  // squares of pixels become channels
      const y = new Float32Array(x.length), out = side / patch;
      for (let r = 0; r < side; r++) for (let q = 0; q < side; q++) y[((r % patch) * patch + q % patch) * out * out + Math.floor(r / patch) * out + Math.floor(q / patch)] = x[r * side + q];
      return image(y, patch * patch, out);
    };
    const unfold = (x, patch) => {
      const y = new Float32Array(x.data.length), side = x.side * patch;
      for (let r = 0; r < side; r++) for (let q = 0; q < side; q++) y[r * side + q] = x.data[((r % patch) * patch + q % patch) * x.side * x.side + Math.floor(r / patch) * x.side + Math.floor(q / patch)];
      return y;
    };

    return function forward(x, level) {  // a picture of one channel and its noise level, 0 to 1000 -> what the network says
      const all = told(level), step = (s, h) => { const y = block(`${s.name}.res`, h, all.subarray(s.from, s.to)); return s.heads ? attention(`${s.name}.attn`, y, s.heads) : y; };
      const seen = [conv('stem', fold(x, Math.sqrt(x.length), layout.patch))];
      for (const s of layout.down) seen.push(s.half ? conv(`${s.name}.conv`, seen[seen.length - 1], { stride: 2 }) : step(s, seen[seen.length - 1]));
      let h = seen[seen.length - 1];
      for (const s of layout.mid) h = step(s, h);
      for (const s of layout.up) h = s.twice ? conv(`${s.name}.conv`, h, { twice: true }) : step(s, stack(h, seen.pop()));
      return unfold(conv('head', hot(norm('norm', h))), layout.patch);
    };
  }

  // Weights as a page brings them: text.
  function unpack({ layout, tensors, bytes, floats }) {
    const read = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
    return { layout, tensors, bytes: new Int8Array(read(bytes)), floats: new Float32Array(read(floats)) };
  }

  // Workers that answer `ask(x, level)` with a promise, so that the page stays alive; where there can be none, the page computes itself,
  // a picture at a time, and breathes in between.
  function askers(packed, count) {
    const weights = unpack(packed);
    try {
      const text = `'use strict';(${(() => { onmessage = ({ data }) => { if (data.weights) self.forward = makeUNet(data.weights); else postMessage({ id: data.id, y: self.forward(data.x, data.level) }); }; })})();${makeUNet}`;
      const address = URL.createObjectURL(new Blob([text], { type: 'text/javascript' })), waiting = new Map();
      const crew = Array.from({ length: count }, () => {
        const worker = new Worker(address);
        worker.postMessage({ weights });
        worker.onmessage = ({ data }) => { waiting.get(data.id)(data.y); waiting.delete(data.id); };
        return worker;
      });
      let id = 0;
      return (x, level) => new Promise((resolve) => { waiting.set(++id, resolve); crew[id % count].postMessage({ id, x, level }); });
    } catch {
      const forward = makeUNet(weights);
      let turn = Promise.resolve();
      return (x, level) => turn = turn.then(() => new Promise((resolve) => setTimeout(() => resolve(forward(x, level)), 0)));
    }
  }

  // Walk a heap of pictures, all of them a step at a time, by a network that says v; resolves to all states. tell(k, x, x0) is called
  // whenever a picture of estimate k has come in, and may return false to end the walk.
  async function walkPictures({ ask, schedule, solver, times, x, size, noise, eta = 0, tell = () => {} }) {
    const states = [x];
    for (let k = 0; k + 1 < times.length; k++) {
      const now = states[k], t = times[k], alpha = schedule.alpha(t), sigma = schedule.sigma(t), x0 = new Float32Array(now.length);
      await Promise.all(Array.from({ length: now.length / size }, async (_, i) => {
        const v = await ask(now.slice(i * size, (i + 1) * size), 1000 * t);
        for (let p = 0, at = i * size; p < size; p++, at++) x0[at] = alpha * now[at] - sigma * v[p];
        tell(k, now, x0);
      }));
      if (tell(k, now, x0) === false) break;
      states.push(Float32Array.from(solver(schedule, () => x0, now, t, times[k + 1], { noise, eta })));
    }
    return states;
  }

  Object.assign(live, { makeUNet, unpack, askers, walkPictures });
})();
