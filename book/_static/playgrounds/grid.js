/* The grid: a world that the reader draws, and six ways to learn what its squares are worth.

   The model is that of `rlcourse.mdp.grid`, the streams those of `rlcourse.algorithms.dynamic_programming`,
   the samplers those of `rlcourse.algorithms.prediction` and `tabular`: same letters, same order, same numbers.
   One thing more: a square may hold a reward that every arrival collects. */
"use strict";

(() => {
  const { h, svg, button, slider, choice, select, teller, ticker, number, count } = rlcourse;
  const { generator, argmaxRandomTies } = rlcourse;

  /* --- the model -------------------------------------------------------------------------------- */

  const MOVES = [[0, -1], [1, 0], [0, 1], [-1, 0]]; // left, down, right, up
  const NAMES = ["left", "down", "right", "up"];
  const A = 4;

  function parse(text) {
    const lines = text.trim().split("\n").map((line) => line.trim().replaceAll("F", "."));
    return { rows: lines.length, columns: lines[0].length, cells: [...lines.join("")] };
  }

  /* Lists of [next state, probability] for every (s, a), and R[s, a]; nothing happens in terminal states. */
  function model(map, { slip = 0, goal = 1, hole = 0, step = 0, extra = null } = {}) {
    const { rows, columns, cells } = map;
    const S = cells.length;
    const terminal = cells.map((cell) => "GH#".includes(cell));
    const arrival = cells.map(
      (cell, s) =>
        step + (cell === "G" ? goal : cell === "H" ? hole : 0) + (extra && !terminal[s] ? extra[s] : 0),
    );
    const target = (s, [di, dj]) => {
      const i = Math.min(Math.max(Math.floor(s / columns) + di, 0), rows - 1);
      const j = Math.min(Math.max((s % columns) + dj, 0), columns - 1);
      return cells[i * columns + j] === "#" ? s : i * columns + j;
    };
    const next = [], reward = new Float64Array(S * A);
    for (let s = 0; s < S; s++)
      for (let a = 0; a < A; a++) {
        if (terminal[s]) {
          next.push([]);
          continue;
        }
        // The moves at a right angle are the neighbours in the order left, down, right, up.
        const chances = [[a, 1 - slip], [(a + 1) % 4, slip / 2], [(a + 3) % 4, slip / 2]];
        const row = chances
          .filter(([, chance]) => chance > 0)
          .map(([move, chance]) => [target(s, MOVES[move]), chance]);
        next.push(row);
        for (const [to, chance] of row) reward[s * A + a] += chance * arrival[to];
      }
    let start = cells.flatMap((cell, s) => (cell === "S" ? [s] : []));
    if (!start.length) start = cells.flatMap((_, s) => (terminal[s] ? [] : [s]));
    return { S, next, reward, terminal, arrival, start };
  }

  /* --- dynamic programming ---------------------------------------------------------------------- */

  function qValues(m, values, gamma) {
    const q = new Float64Array(m.S * A);
    for (let k = 0; k < q.length; k++) {
      let expected = 0;
      for (const [to, chance] of m.next[k]) expected += chance * (gamma * values[to]);
      q[k] = m.reward[k] + expected;
    }
    return q;
  }
  const row = (q, s) => q.subarray(s * A, s * A + A);
  const best = (q, s) => Math.max(q[s * A], q[s * A + 1], q[s * A + 2], q[s * A + 3]);
  const greedy = (q) =>
    Array.from({ length: q.length / A }, (_, s) => row(q, s).indexOf(best(q, s)));
  const bestOf = (q) => Float64Array.from({ length: q.length / A }, (_, s) => best(q, s));

  /* Every stream yields {values, error}: how far the values can be from the fixed point, if that is proven. */
  function sweep(m, values, backedUp, tail) {
    let low = Infinity, high = -Infinity;
    for (let s = 0; s < m.S; s++) {
      const change = backedUp[s] - values[s];
      low = Math.min(low, change);
      high = Math.max(high, change);
    }
    return {
      values: backedUp,
      change: Math.max(-low, high),
      error: Number.isFinite(tail) ? Math.max(-tail * low, tail * high) : Infinity,
    };
  }
  const tailOf = (gamma) => (gamma < 1 ? gamma / (1 - gamma) : Infinity);
  const begin = (m, initial) =>
    Float64Array.from({ length: m.S }, (_, s) => (m.terminal[s] || !initial ? 0 : initial[s]));

  function* valueIteration(m, gamma, initial) {
    let values = begin(m, initial);
    for (;;) {
      const backedUp = bestOf(qValues(m, values, gamma));
      yield sweep(m, values, backedUp, tailOf(gamma));
      values = backedUp;
    }
  }

  /* Of the policy that takes every action equally often. */
  function* policyEvaluation(m, gamma, initial) {
    let values = begin(m, initial);
    for (;;) {
      const q = qValues(m, values, gamma);
      const backedUp = values.map((_, s) => row(q, s).reduce((sum, x) => sum + x / A, 0));
      yield sweep(m, values, backedUp, tailOf(gamma));
      values = backedUp;
    }
  }

  /* Howard's: exact values of a policy, then a better policy. With gamma = 1 it starts from one that ends;
     where some square can never end there is none, and the stream ends at once. */
  function* policyIteration(m, gamma) {
    let policy = gamma === 1 ? towardsTheEnd(m) : greedy(m.reward);
    if (!policy) return;
    for (;;) {
      const values = evaluate(m, policy, gamma);
      const q = qValues(m, values, gamma);
      const rounding = 1e-10 * Math.max(1, ...q.map(Math.abs));
      const better = policy.map((a, s) => best(q, s) > q[s * A + a] + rounding);
      yield { policy, values, changes: better.filter(Boolean).length };
      if (!better.some(Boolean)) return;
      const improved = greedy(q);
      policy = policy.map((a, s) => (better[s] ? improved[s] : a));
    }
  }

  /* (I - gamma P) v = r by Gauss with the largest pivot. */
  function evaluate(m, policy, gamma) {
    const n = m.S;
    const rows = policy.map((a, s) => {
      const line = new Float64Array(n + 1);
      line[s] += 1;
      for (const [to, chance] of m.next[s * A + a]) line[to] -= gamma * chance;
      line[n] = m.reward[s * A + a];
      return line;
    });
    for (let k = 0; k < n; k++) {
      let pivot = k;
      for (let i = k + 1; i < n; i++) if (Math.abs(rows[i][k]) > Math.abs(rows[pivot][k])) pivot = i;
      [rows[k], rows[pivot]] = [rows[pivot], rows[k]];
      for (let i = k + 1; i < n; i++) {
        const factor = rows[i][k] / rows[k][k];
        if (factor) for (let j = k; j <= n; j++) rows[i][j] -= factor * rows[k][j];
      }
    }
    const values = new Float64Array(n);
    for (let k = n - 1; k >= 0; k--) {
      let sum = rows[k][n];
      for (let j = k + 1; j < n; j++) sum -= rows[k][j] * values[j];
      values[k] = sum / rows[k][k];
    }
    return values;
  }

  /* A policy that ends: in each square the action most likely to go where the end is nearer, or null. */
  function towardsTheEnd(m) {
    const near = m.terminal.slice();
    const policy = new Array(m.S).fill(0);
    while (!near.every(Boolean)) {
      const chance = qValues({ ...m, reward: new Float64Array(m.S * A) }, near.map(Number), 1);
      const found = near.map((there, s) => !there && best(chance, s) > 0);
      if (!found.some(Boolean)) return null;
      const towards = greedy(chance);
      found.forEach((yes, s) => {
        if (yes) [near[s], policy[s]] = [true, towards[s]];
      });
    }
    return policy;
  }

  /* --- learning from steps ---------------------------------------------------------------------- */

  /* One transition {obs, action, reward, terminated, nextObs, nextAction} moves one entry of a table. */
  const UPDATES = {
    td(v, t, alpha, gamma) {
      const target = t.reward + gamma * (t.terminated ? 0 : v[t.nextObs]);
      v[t.obs] += alpha * (target - v[t.obs]);
    },
    sarsa(q, t, alpha, gamma) {
      const target = t.reward + gamma * (t.terminated ? 0 : q[t.nextObs * A + t.nextAction]);
      q[t.obs * A + t.action] += alpha * (target - q[t.obs * A + t.action]);
    },
    qlearning(q, t, alpha, gamma) {
      const target = t.reward + gamma * (t.terminated ? 0 : best(q, t.nextObs));
      q[t.obs * A + t.action] += alpha * (target - q[t.obs * A + t.action]);
    },
  };
  const LIMIT = 200; // steps; then the episode is cut off, as in rlcourse/Grid-v0

  function* walk(m, kind, table, settings, rng) {
    const behave = (s) =>
      kind === "td" || rng.random() < settings.epsilon
        ? rng.integer(A)
        : argmaxRandomTies([...row(table, s)], rng);
    for (let episode = 1; ; episode++) {
      let obs = m.start[rng.integer(m.start.length)];
      let action = behave(obs), total = 0;
      for (let steps = 1; ; steps++) {
        let draw = rng.random(), k = 0;
        const reachable = m.next[obs * A + action];
        while (k < reachable.length - 1 && draw >= reachable[k][1]) draw -= reachable[k++][1];
        const nextObs = reachable[k][0], terminated = m.terminal[nextObs];
        const reward = m.arrival[nextObs];
        const nextAction = behave(nextObs);
        const transition = { obs, action, reward, terminated, nextObs, nextAction };
        UPDATES[kind](table, transition, settings.alpha, settings.gamma);
        total += reward;
        const over = terminated || steps === LIMIT;
        yield { ...transition, episode, steps, total, over };
        if (over) break;
        [obs, action] = [nextObs, nextAction];
      }
    }
  }

  /* --- the page --------------------------------------------------------------------------------- */

  const MAPS = {
    island: ["The island", "S...H..G\n.##...#.\n.##.#...\n........"],
    lake: ["The frozen lake", "SFFF\nFHFH\nFFFH\nHFFG"],
    cliff: ["The cliff", "........\n........\n........\nSHHHHHHG"],
    rooms: [
      "Four rooms",
      "S....#....\n.....#....\n..........\n.....#....\n##.###.###\n.....#....\n..........\n.....#...G",
    ],
    empty: ["Open ground", "S.......\n........\n........\n........\n.......G"],
  };
  const METHODS = [
    ["values", "Value iteration"],
    ["policy", "Policy iteration"],
    ["evaluation", "Policy evaluation (random walk)"],
    ["td", "TD(0) (random walk)"],
    ["sarsa", "SARSA"],
    ["qlearning", "Q-learning"],
  ];
  const SAMPLED = ["td", "sarsa", "qlearning"];
  const BRUSHES = [[".", "Free"], ["#", "Wall"], ["G", "Goal"], ["H", "Pit"], ["R", "Reward"], ["S", "Start"]];
  const KINDS = { ".": "free", "#": "wall", G: "goal", H: "pit", S: "start" };
  const KEYS = {
    ...{ w: "#", "#": "#", g: "G", p: "H", h: "H", r: "R", s: "S" },
    ...{ f: ".", ".": ".", delete: ".", backspace: "." },
  };
  const RATES = [1, 2, 4, 8, 15, 30, 60, 250, 1000, 5000];

  /* Arrows of a set of actions, one from tail to head or several out of the middle. */
  function arrowPath(actions) {
    return actions
      .map((a) => {
        const [dy, dx] = MOVES[a];
        const [tail, head] = actions.length === 1 ? [-9, 9] : [0, 10];
        const at = (along, across) => `${along * dx - across * dy} ${along * dy + across * dx}`;
        return `M${at(tail, 0)}L${at(head, 0)}M${at(head - 4.5, -4)}L${at(head, 0)}L${at(head - 4.5, 4)}`;
      })
      .join("");
  }

  function mount(root, options) {
    const settings = {
      ...{ slip: 0.2, gamma: 0.97, goal: 1, hole: 0, step: 0, alpha: 0.1, epsilon: 0.1, seed: 0 },
      ...Object.fromEntries(
        ["slip", "gamma", "goal", "hole", "step", "alpha", "epsilon", "seed"]
          .filter((name) => name in options)
          .map((name) => [name, Number(options[name])]),
      ),
    };
    let method = options.method || "values", brush = "#", painted = 0.5, rate = 4;
    let map, extra, world, stream, values, table, latest, updates, over, stuck, rng, nodes = [], focus = 0;

    /* The picture: one button-like cell a square, so that it reads aloud and takes the keyboard. */
    const board = h("div", {
      class: "pg-board",
      role: "grid",
      "aria-label": "The world. Arrow keys move, space paints with the chosen brush; or type W for wall, " +
        "G goal, P pit, R reward, S start, F free.",
    });
    const agent = h("div", { class: "pg-agent", hidden: true });
    const ground = h("div", { class: "pg-ground" }, board, agent);
    const state = teller();
    const clock = ticker(root, advance);

    function load(text) {
      map = parse(text);
      extra = new Float64Array(map.cells.length);
      ground.style.setProperty("--rows", map.rows);
      ground.style.setProperty("--columns", map.columns);
      nodes = map.cells.map((_, s) => {
        const path = svg("path", {});
        const value = h("span", { class: "pg-value" }), mark = h("span", { class: "pg-mark" });
        const node = h(
          "div",
          { role: "gridcell", tabindex: -1, "data-s": s },
          mark,
          svg("svg", { class: "pg-arrow", viewBox: "-12 -12 24 24", "aria-hidden": "true" }, path),
          value,
        );
        return { node, path, value, mark, seen: "", arrows: [] };
      });
      board.replaceChildren(
        ...Array.from({ length: map.rows }, (_, i) =>
          h("div", { role: "row" }, nodes.slice(i * map.columns, (i + 1) * map.columns).map((n) => n.node)),
        ),
      );
      focus = 0;
      nodes[0].node.tabIndex = 0;
      reset();
    }

    /* The model anew, after a stroke of the brush or a slider: what has been learned stays. */
    function rebuild() {
      world = model(map, { ...settings, extra });
      over = stuck = false;
      if (SAMPLED.includes(method)) {
        world.terminal.forEach((end, s) => {
          if (end && method === "td") table[s] = 0;
          else if (end) table.fill(0, s * A, s * A + A);
        });
        stream = walk(world, method, table, settings, rng);
      } else if (method === "policy") stream = policyIteration(world, settings.gamma);
      else {
        const make = method === "values" ? valueIteration : policyEvaluation;
        stream = make(world, settings.gamma, values);
        values = begin(world, values);
      }
      draw();
    }

    function reset() {
      clock.on = false;
      rng = generator(settings.seed);
      values = new Float64Array(map.cells.length);
      table = method === "td" ? values : new Float64Array(map.cells.length * A);
      latest = null;
      updates = 0;
      rebuild();
    }

    function one() {
      const { value, done } = stream.next();
      if (done) over = stuck = true; // it has no policy to begin with
      else {
        latest = value;
        updates += 1;
        if (!SAMPLED.includes(method)) {
          values = value.values;
          over = method === "policy" ? value.changes === 0 : value.change <= 1e-12;
        }
      }
      if (over) clock.on = false;
      return !over;
    }

    let owed = 0;
    function advance(seconds) {
      owed = Math.min(owed + seconds * rate, Math.max(1, rate * 0.3));
      while (owed >= 1 && one()) owed -= 1;
      if (over) owed = 0;
      draw();
    }

    /* --- drawing */
    function look() {
      if (method === "sarsa" || method === "qlearning") return { q: table, v: bestOf(table) };
      return { q: qValues(world, values, settings.gamma), v: values };
    }

    function draw() {
      const { q, v } = look();
      const scale = Math.max(...v.map(Math.abs), 1e-12);
      nodes.forEach((n, s) => {
        const cell = map.cells[s], end = world.terminal[s];
        const share = end ? 0 : v[s] / scale;
        let arrows = [];
        if (!end) {
          const top = best(q, s);
          const known = latest && row(q, s).some((x) => x !== 0); // no news yet, no arrow
          if (known) arrows = [0, 1, 2, 3].filter((a) => q[s * A + a] >= top - 1e-12);
          if (arrows.length === 4) arrows = [];
        }
        const pays = { "#": "", G: signed(settings.goal), H: signed(settings.hole) };
        const shown = pays[cell] ?? brief(v[s]);
        const coin = extra[s] && !end ? signed(extra[s]) : "";
        const key = `${cell}${shown}${arrows}${coin}${share.toFixed(3)}`;
        if (key === n.seen) return; // nothing to draw anew
        n.seen = key;
        n.node.className = `pg-cell pg-${KINDS[cell]}`;
        n.node.classList.toggle("pg-negative", share < 0);
        n.node.classList.toggle("pg-coin", coin !== "");
        n.node.style.setProperty("--share", Math.abs(share).toFixed(3));
        n.value.textContent = shown;
        n.mark.textContent = coin || (cell === "." || cell === "#" ? "" : cell === "H" ? "P" : cell);
        n.path.setAttribute("d", arrowPath(arrows));
        n.arrows = arrows;
      });
      const moving = SAMPLED.includes(method) && latest;
      agent.hidden = !moving;
      if (moving) {
        const at = latest.nextObs;
        agent.style.setProperty("--row", Math.floor(at / map.columns));
        agent.style.setProperty("--column", at % map.columns);
        agent.classList.toggle("pg-fast", rate > 8 || !clock.on);
      }
      if (run.textContent !== (clock.on ? "Pause" : "Run")) run.textContent = clock.on ? "Pause" : "Run";
      step.disabled = over;
      if (!clock.on) nodes.forEach((_, s) => describe(s));
      state.tell(sentence(v));
    }
    const brief = (x) => number(x, Math.abs(x) < 9.995 ? 2 : Math.abs(x) < 99.95 ? 1 : 0);
    const signed = (x) => (x > 0 ? `+${+x.toFixed(2)}` : number(x, Number.isInteger(x) ? 0 : 2));

    function describe(s) {
      const n = nodes[s], cell = map.cells[s];
      const place = `row ${Math.floor(s / map.columns) + 1}, column ${(s % map.columns) + 1}`;
      const shown = n.value.textContent, end = world.terminal[s];
      const worth = end ? shown && `pays ${shown}` : `worth ${shown}`;
      const coin = extra[s] && !end && `reward ${signed(extra[s])}`;
      const way = n.arrows.length > 0 && `best: ${n.arrows.map((a) => NAMES[a]).join(" or ")}`;
      const text = [place, KINDS[cell], coin, worth, way].filter(Boolean).join(", ");
      if (n.node.getAttribute("aria-label") !== text) n.node.setAttribute("aria-label", text);
    }

    const few = (x) => (x >= 1 || x === 0 ? number(x, 1) : String(+x.toPrecision(2)));
    function sentence(v) {
      const name = METHODS.find(([key]) => key === method)[1];
      if (stuck)
        return `${name}: with a discount of 1, and a square from which no end can be reached, no policy has ` +
          "a value. Lower the discount or open a way.";
      if (!latest) return `${name}. Nobody knows anything yet.`;
      const start = map.cells.indexOf("S");
      const there = start < 0 ? "" : ` The start is worth ${number(v[start], 3)}.`;
      if (SAMPLED.includes(method)) {
        const end = latest.over ? `, which ended with a return of ${number(latest.total)}` : "";
        return `${name}: ${count(updates)} steps, episode ${count(latest.episode)}${end}.${there}`;
      }
      if (method === "policy") {
        const tail = over ? "Nothing can be improved: it is optimal."
          : `${latest.changes} arrows can be improved.`;
        return `${name}: policy number ${updates}, evaluated exactly.${there} ${tail}`;
      }
      const proven = over ? " Nothing moves any more."
        : Number.isFinite(latest.error) ? ` Proven: no value is wrong by more than ${few(latest.error)}.` : "";
      return `${name}: sweep ${count(updates)}, largest change ${few(latest.change)}.${there}${proven}`;
    }

    /* --- painting */
    function paint(s, what) {
      const cell = map.cells[s];
      if (what === "R") {
        if ("GH#".includes(cell)) map.cells[s] = ".";
        extra[s] = painted;
      } else {
        if (what === "S") map.cells.forEach((c, k) => c === "S" && (map.cells[k] = "."));
        map.cells[s] = what;
        if (what !== "S") extra[s] = 0;
      }
      rebuild();
    }
    const holds = (s, what) => (what === "R" ? extra[s] !== 0 : map.cells[s] === what);
    let stroke = null;
    const under = (event) => {
      const node = document.elementFromPoint(event.clientX, event.clientY)?.closest?.("[data-s]");
      return node && board.contains(node) ? Number(node.dataset.s) : -1;
    };
    board.addEventListener("pointerdown", (event) => {
      const s = under(event);
      if (s < 0 || event.button) return;
      event.preventDefault();
      board.setPointerCapture(event.pointerId);
      stroke = holds(s, brush) ? "." : brush; // a second touch takes it away
      paint(s, stroke);
      go(s);
    });
    board.addEventListener("pointermove", (event) => {
      const s = stroke === null ? -1 : under(event);
      if (s >= 0 && !holds(s, stroke)) paint(s, stroke);
    });
    for (const end of ["pointerup", "pointercancel"]) board.addEventListener(end, () => (stroke = null));

    function go(s) {
      nodes[focus].node.tabIndex = -1;
      focus = s;
      nodes[s].node.tabIndex = 0;
      nodes[s].node.focus({ preventScroll: true });
    }
    board.addEventListener("focusin", (event) => {
      const s = Number(event.target.closest("[data-s]")?.dataset.s ?? -1);
      if (s >= 0) describe(s);
    });
    board.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const move = ["ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp"].indexOf(event.key);
      const key = event.key.toLowerCase();
      if (move >= 0) {
        const i = Math.floor(focus / map.columns) + MOVES[move][0];
        const j = (focus % map.columns) + MOVES[move][1];
        if (i >= 0 && i < map.rows && j >= 0 && j < map.columns) go(i * map.columns + j);
      } else if (key === " " || key === "enter") paint(focus, holds(focus, brush) ? "." : brush);
      else if (KEYS[key]) paint(focus, KEYS[key]);
      else return;
      event.preventDefault();
    });

    /* --- controls */
    const percent = (x) => number(x, 2);
    const tune = (label, name, min, max, by, show = percent) =>
      slider(label, {
        ...{ min, max, step: by, value: settings[name], show },
        oninput: (x) => {
          settings[name] = x;
          rebuild();
        },
      });
    const run = button("Run", () => {
      if (over) rebuild();
      clock.on = !clock.on && !over;
      draw();
    }, "pg-primary");
    const step = button("Step", () => {
      clock.on = false;
      one();
      draw();
    });
    const again = button("Reset", reset);
    const brushes = choice("Draw", BRUSHES, brush, (key) => {
      brush = key;
      rewards.hidden = key !== "R";
    }, "pg-brushes");
    const rewards = h("div", { hidden: true }, slider("Reward on the square", {
      min: -1, max: 1, step: 0.05, value: painted, show: (x) => signed(x), oninput: (x) => (painted = x),
    }).node);
    const speed = slider("Speed", {
      min: 0, max: RATES.length - 1, step: 1, value: RATES.indexOf(rate),
      show: (i) => `${RATES[i].toLocaleString("en")} a second`,
      oninput: (i) => {
        rate = RATES[i];
        draw();
      },
    });
    const alpha = tune("Step size α", "alpha", 0.01, 1, 0.01);
    const epsilon = tune("Exploration ε", "epsilon", 0, 1, 0.01);
    const pick = select("Method", METHODS, method, (key) => {
      method = key;
      sampling();
      reset();
    });
    const offered = Object.entries(MAPS).map(([key, [name]]) => [key, name]);
    if (options.map) offered.unshift(["given", "This page's map"]);
    const first = offered[0][0];
    const textOf = (key) => (key === "given" ? options.map : MAPS[key][1]);
    const maps = select("Map", offered, first, (key) => load(textOf(key)));
    function sampling() {
      alpha.node.hidden = !SAMPLED.includes(method);
      epsilon.node.hidden = !["sarsa", "qlearning"].includes(method);
      rate = SAMPLED.includes(method) ? 60 : 4;
      speed.set(RATES.indexOf(rate));
    }

    root.append(
      h("div", { class: "pg-stage" },
        h("div", { class: "pg-row pg-heads" }, maps.node, pick.node),
        ground,
        h("div", { class: "pg-row" }, run, step, again),
        state.node),
      h("div", { class: "pg-controls" },
        brushes.node, rewards,
        h("p", { class: "pg-caption" },
          "By keyboard: arrows walk over the squares, space draws; or type W for a wall, G goal, P pit, " +
            "R reward, S start, F free."),
        h("div", { class: "pg-sliders" },
          tune("Slip", "slip", 0, 1, 0.01).node,
          tune("Discount γ", "gamma", 0, 1, 0.01).node,
          alpha.node, epsilon.node, speed.node),
        h("details", {}, h("summary", {}, "What arrivals pay"),
          h("div", { class: "pg-sliders" },
            tune("Goal", "goal", -1, 1, 0.05, signed).node,
            tune("Pit", "hole", -1, 1, 0.05, signed).node,
            tune("Every step", "step", -0.5, 0.5, 0.01, signed).node))),
    );
    sampling();
    load(textOf(first));
    return {
      get values() {
        return [...look().v];
      },
      get text() {
        const rowOf = (_, i) => map.cells.slice(i * map.columns, (i + 1) * map.columns).join("");
        return Array.from({ length: map.rows }, rowOf).join("\n");
      },
      get updates() {
        return updates;
      },
    };
  }

  rlcourse.grid = {
    ...{ parse, model, qValues, greedy, valueIteration, policyEvaluation, policyIteration, evaluate },
    ...{ UPDATES, walk, A },
  };
  rlcourse.playground("grid", mount);
})();
