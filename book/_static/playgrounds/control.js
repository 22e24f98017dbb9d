/* CartPole and MountainCar: Gymnasium's physics, driven by the reader, by chance or by a trained network.

   The equations are those of `CartPole-v1` and `MountainCar-v0`, in the same order of operations; the
   networks are checkpoints of `rlcourse.algorithms.dqn`, written by tools/playground_policies.py. */
"use strict";

(() => {
  const { h, svg, button, slider, choice, table, swatch, teller, ticker, palette } = rlcourse;
  const { number, count: grouped, generator } = rlcourse;

  /* --- worlds ----------------------------------------------------------------------------------- */

  const clip = (value, low, high) => Math.min(Math.max(value, low), high);
  const { sin, cos, PI } = Math;

  const CARTPOLE = {
    id: "CartPole-v1", name: "cart", limit: 500, tau: 0.02, sign: 1, actions: ["left", "right"],
    physics: {
      gravity: { label: "Gravity", unit: " m/s²", value: 9.8, min: 0, max: 30, step: 0.2 },
      // Gymnasium's `length` is half the pole; readers see the whole.
      length: { label: "Length of the pole", unit: " m", value: 0.5, min: 0.1, max: 2, step: 0.05, shown: 2 },
      force: { label: "Force of a push", unit: " N", value: 10, min: 1, max: 30, step: 0.5 },
    },
    start: (rng) => Array.from({ length: 4 }, () => rng.uniform(-0.05, 0.05)),
    step([x, speed, angle, turning], action, { gravity, length, force }) {
      const massCart = 1, massPole = 0.1, total = massPole + massCart, poleMoment = massPole * length;
      const push = action === 1 ? force : -force;
      const c = cos(angle), s = sin(angle);
      const temp = (push + poleMoment * (turning * turning) * s) / total;
      const turn = (gravity * s - c * temp) / (length * (4 / 3 - (massPole * (c * c)) / total));
      const pull = temp - (poleMoment * turn * c) / total;
      const state = [x + 0.02 * speed, speed + 0.02 * pull, angle + 0.02 * turning, turning + 0.02 * turn];
      const most = (12 * 2 * PI) / 360;
      const terminated = Math.abs(state[0]) > 2.4 || Math.abs(state[2]) > most;
      return { state, reward: 1, terminated };
    },
    idle: (steps) => steps % 2, // it must push: left, right, left, right
    words([x, , angle]) {
      const degrees = (angle * 180) / PI;
      const side = degrees < 0 ? "left" : "right";
      return `the cart is at ${number(x)} m, the pole leans ${number(Math.abs(degrees), 1)}° to the ${side}`;
    },
    over: (terminated) => (terminated ? "It fell, or left the track" : "It stood to the end"),
    draw(g, w, height, [x, , angle], action, physics, c) {
      const ground = height - 34;
      // A long pole is seen from afar.
      const scale = Math.min(w / 5.4, (ground - 30) / (2 * physics.length + 0.4));
      const at = w / 2 + x * scale;
      g.strokeStyle = c.line;
      g.lineWidth = 2;
      line(g, 0, ground, w, ground);
      g.strokeStyle = c.quiet;
      for (const edge of [w / 2 - 2.4 * scale, w / 2 + 2.4 * scale])
        line(g, edge, ground - 9, edge, ground + 9);
      const wheel = 0.06 * scale, cart = { width: 0.5 * scale, height: 0.26 * scale };
      const axle = ground - cart.height - wheel;
      // The wedge in which the pole counts as standing.
      const reach = 2 * physics.length * scale;
      g.fillStyle = mixed(c.accent, 0.1);
      g.beginPath();
      g.moveTo(at, axle);
      g.arc(at, axle, reach, -PI / 2 - PI / 15, -PI / 2 + PI / 15);
      g.fill();
      g.fillStyle = c.ink;
      rounded(g, at - cart.width / 2, axle, cart.width, cart.height, 5);
      for (const side of [-0.15, 0.15]) disc(g, at + side * scale, ground - wheel, wheel, c.quiet);
      g.strokeStyle = c.series[4];
      g.lineCap = "round";
      g.lineWidth = Math.max(5, 0.09 * scale);
      line(g, at, axle, at + reach * sin(angle), axle - reach * cos(angle));
      disc(g, at, axle, 0.045 * scale, c.accent);
      if (action !== null) {
        const way = action === 1 ? 1 : -1, from = at - way * (cart.width / 2 + 0.1 * scale);
        const long = scale * (0.12 + 0.02 * physics.force);
        arrow(g, from - way * long, from, axle + cart.height / 2, c.series[0]);
      }
    },
  };

  const MOUNTAINCAR = {
    id: "MountainCar-v0", name: "car", limit: 200, tau: 1 / 30, sign: -1, actions: ["left", "coast", "right"],
    physics: {
      gravity: { label: "Gravity", unit: "", value: 0.0025, min: 0, max: 0.005, step: 1e-4, digits: 4 },
      force: { label: "Force of the engine", unit: "", value: 1e-3, min: 0, max: 3e-3, step: 1e-4, digits: 4 },
    },
    start: (rng) => [rng.uniform(-0.6, -0.4), 0],
    step([position, velocity], action, { gravity, force }) {
      velocity += (action - 1) * force + cos(3 * position) * -gravity;
      velocity = clip(velocity, -0.07, 0.07);
      position = clip(position + velocity, -1.2, 0.6);
      if (position === -1.2 && velocity < 0) velocity = 0;
      return { state: [position, velocity], reward: -1, terminated: position >= 0.5 && velocity >= 0 };
    },
    idle: () => 1,
    words([position, velocity]) {
      const way = velocity < 0 ? "rolling left" : velocity > 0 ? "rolling right" : "at rest";
      return `the car is at ${number(position)}, ${way}`;
    },
    over: (terminated) => (terminated ? "It is up" : "Time is up"),
    draw(g, w, height, [position, velocity], action, physics, c) {
      const scale = w / 1.8, ground = height - 18;
      const X = (p) => (p + 1.2) * scale, hill = (p) => 0.45 * sin(3 * p) + 0.55, rise = (height - 70) / 1.0;
      const Y = (p) => ground - (hill(p) - 0.1) * rise;
      g.beginPath();
      for (let i = 0; i <= 120; i++) {
        const p = -1.2 + (1.8 * i) / 120;
        g.lineTo(X(p), Y(p));
      }
      g.strokeStyle = c.quiet;
      g.lineWidth = 2.5;
      g.stroke();
      g.lineTo(w, height);
      g.lineTo(0, height);
      g.fillStyle = mixed(c.accent, 0.1);
      g.fill();
      g.strokeStyle = c.ink;
      g.lineWidth = 2;
      line(g, X(0.5), Y(0.5), X(0.5), Y(0.5) - 44);
      g.fillStyle = c.series[2];
      g.beginPath();
      g.moveTo(X(0.5), Y(0.5) - 44);
      g.lineTo(X(0.5) + 24, Y(0.5) - 36);
      g.lineTo(X(0.5), Y(0.5) - 28);
      g.fill();
      const size = clip(w / 640, 0.6, 1);
      g.save();
      g.translate(X(position), Y(position));
      g.rotate(-Math.atan2(0.45 * 3 * cos(3 * position) * rise, scale));
      g.scale(size, size);
      g.fillStyle = c.ink;
      rounded(g, -22, -26, 44, 15, 5);
      rounded(g, -11, -37, 22, 14, 5);
      for (const side of [-12, 12]) disc(g, side, -8, 8, c.series[4]);
      if (action === 0 || action === 2) {
        const way = action - 1;
        arrow(g, way * 30, way * (38 + 9000 * physics.force), -18, c.series[0]);
      }
      g.restore();
    },
  };

  function line(g, x1, y1, x2, y2) {
    g.beginPath();
    g.moveTo(x1, y1);
    g.lineTo(x2, y2);
    g.stroke();
  }
  function disc(g, x, y, r, colour) {
    g.fillStyle = colour;
    g.beginPath();
    g.arc(x, y, r, 0, 2 * PI);
    g.fill();
  }
  function rounded(g, x, y, w, height, r) {
    g.beginPath();
    g.roundRect(x, y, w, height, r);
    g.fill();
  }
  function arrow(g, from, to, y, colour) {
    const way = Math.sign(to - from);
    g.strokeStyle = colour;
    g.lineWidth = 3;
    line(g, from, y, to, y);
    line(g, to, y, to - 6 * way, y - 5);
    line(g, to, y, to - 6 * way, y + 5);
  }
  const mixed = (colour, share) => `color-mix(in srgb, ${colour} ${100 * share}%, transparent)`;

  /* --- networks --------------------------------------------------------------------------------- */

  const shelf = {};
  /* A file of weights calls this: see tools/playground_policies.py. */
  rlcourse.policies = (about) => (shelf[about.environment] = about);

  function network({ layers, weights }) {
    const bytes = Uint8Array.from(atob(weights), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    const flat = Float64Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
    let offset = 0;
    const parts = layers.map(([out, into]) => {
      const matrix = flat.subarray(offset, (offset += out * into));
      return { out, into, matrix, bias: flat.subarray(offset, (offset += out)) };
    });
    /* Action values of a state; the package's networks see it as float32. */
    return (state) => {
      let x = Float64Array.from(state, Math.fround);
      parts.forEach(({ out, into, matrix, bias }, depth) => {
        const y = new Float64Array(out);
        for (let i = 0; i < out; i++) {
          let sum = bias[i];
          for (let j = 0; j < into; j++) sum += matrix[i * into + j] * x[j];
          y[i] = depth < parts.length - 1 && sum < 0 ? 0 : sum;
        }
        x = y;
      });
      return x;
    };
  }
  const greedy = (values) => values.indexOf(Math.max(...values));

  /* --- the page --------------------------------------------------------------------------------- */

  const PACES = [0.25, 0.5, 1, 2, 4];
  const BARS = 30;

  const mountOf = (world) => (root, options) => {
    const about = shelf[world.id];
    const q = {};
    for (const [name, each] of Object.entries(about?.policies || {})) q[name] = network(each);
    const steps = (name) => grouped(about.policies[name].steps);
    const drivers = [["you", "You"], ["random", "Chance"]];
    if (q.early) drivers.push(["early", `After ${steps("early")} steps`]);
    if (q.trained) drivers.push(["trained", `After ${steps("trained")} steps`]);
    const names = Object.fromEntries(drivers);
    const colour = { you: 3, random: 1, early: 2, trained: 0 };

    const usual = Object.fromEntries(Object.entries(world.physics).map(([name, knob]) => [name, knob.value]));
    const physics = { ...usual };
    for (const name in physics) if (name in options) physics[name] = Number(options[name]);
    let driver = options.driver in names ? options.driver : q.trained ? "trained" : "random";
    const rng = generator(Number(options.seed ?? 0));
    let now, before, action, count, owed, rest, held = null, pace = 1, ended = "";
    const tally = [];

    /* --- an episode */
    const decide = (state, n) =>
      driver === "random" ? rng.integer(world.actions.length)
        : driver === "you" ? held ?? world.idle(n)
          : greedy(q[driver](state));

    function fresh() {
      now = before = world.start(rng);
      action = null;
      count = owed = rest = 0;
      ended = "";
    }
    function advanceOnce() {
      action = decide(now, count);
      const { state, terminated } = world.step(now, action, physics);
      before = now;
      now = state;
      count += 1;
      if (!terminated && count < world.limit) return false;
      ended = world.over(terminated);
      record();
      return true;
    }
    const changed = () => Object.keys(usual).some((name) => Math.abs(physics[name] - usual[name]) > 1e-9);
    function record() {
      tally.push({ driver, steps: count, changed: changed(), world: worldWords() });
      if (tally.length > 2000) tally.shift();
      drawTally();
    }

    function advance(seconds) {
      if (rest > 0) {
        rest -= seconds;
        if (rest <= 0) fresh();
      } else {
        owed = Math.min(owed + seconds * pace, 0.5);
        while (owed >= world.tau) {
          owed -= world.tau;
          if (advanceOnce()) {
            rest = 0.8;
            owed = 0;
            break;
          }
        }
      }
      draw();
    }

    /* --- the picture */
    const canvas = h("canvas", {
      class: "pg-scene", tabindex: 0, role: "application",
      "aria-label": `The ${world.name}. When you drive, the left and right arrow keys push it.`,
    });
    const g = canvas.getContext("2d");
    const colours = palette(root, () => draw());
    let width = 0, height = 0;
    new ResizeObserver(() => {
      const density = devicePixelRatio || 1;
      width = canvas.clientWidth;
      height = canvas.clientHeight;
      canvas.width = Math.round(width * density);
      canvas.height = Math.round(height * density);
      g.setTransform(density, 0, 0, density, 0, 0);
      draw();
    }).observe(canvas);

    function draw() {
      const share = rest > 0 || !clock.on ? 1 : Math.min(1, owed / world.tau);
      const shown = now.map((value, i) => before[i] + share * (value - before[i]));
      if (height > 60 && colours.ink) { // laid out, and dressed
        g.clearRect(0, 0, width, height);
        world.draw(g, width, height, shown, clock.on && !rest ? action : null, physics, colours);
        g.fillStyle = colours.quiet;
        g.font = `600 15px ${getComputedStyle(root).fontFamily}`;
        g.textAlign = "right";
        g.fillText(`${count} of ${world.limit}`, width - 4, 18);
        if (ended) {
          g.textAlign = "left";
          g.fillText(ended, 4, 18);
        }
      }
      const label = clock.on ? "Pause" : "Run";
      if (run.textContent !== label) run.textContent = label;
      state.tell(sentence());
    }

    const state = teller();
    const whose = () =>
      driver === "you" ? "You drive"
        : driver === "random" ? "Chance drives"
          : `The network after ${steps(driver)} steps drives`;
    const worldWords = () =>
      Object.entries(world.physics).map(([name, knob]) => `${name} ${show(knob, physics[name])}`).join(", ");
    function sentence() {
      const strange = changed() && q[driver] ? ", in a world that it was not trained in" : "";
      if (ended) return `${whose()}${strange}. ${ended}, after ${count} steps.`;
      if (count === 0) return `${whose()}${strange}. A new episode.`;
      const start = `${whose()}${strange}. Step ${count}: ${world.words(now)}.`;
      if (!q[driver]) return start;
      const values = [...q[driver](now)].map((value, i) => `${world.actions[i]} at ${number(value, 1)}`);
      return `${start} It values ${values.join(", ")}.`;
    }
    const clock = ticker(root, advance, () => driver !== "you"); // one's own hands are not kept waiting

    /* --- what became of the last episodes */
    const bars = svg("svg", {
      ...{ class: "pg-bars", role: "img", "aria-label": "" },
      ...{ viewBox: `0 0 ${BARS * 10} 60`, preserveAspectRatio: "none" },
    });
    const good = world.sign > 0 ? "long" : "short";
    const body = h("tbody");
    const book = h("div", { class: "pg-tally", hidden: true },
      h("p", { class: "pg-caption" },
        `Steps of the last ${BARS} episodes (${good} is good); pale: the world was changed`),
      bars,
      h("div", { class: "pg-scroll", tabindex: 0, role: "group", "aria-label": "All episodes so far" },
        table(["Who drove", "In which world", "Episodes", "Mean return"], body)));
    function drawTally() {
      book.hidden = false;
      const last = tally.slice(-BARS);
      bars.replaceChildren(...last.map((each, i) => {
        const tall = Math.max(1.5, (58 * each.steps) / world.limit);
        const kind = `pg-bar-${colour[each.driver]} ${each.changed ? "pg-pale" : ""}`;
        return svg("rect", { x: i * 10 + 1, width: 8, y: 60 - tall, height: tall, class: kind });
      }));
      const said = last.map((each) => each.steps).join(", ");
      bars.setAttribute("aria-label", `Steps of the last episodes, oldest first: ${said}.`);
      const groups = new Map();
      for (const each of tally) {
        const key = `${each.driver}|${each.world}`;
        const group = groups.get(key) || { ...each, episodes: 0, sum: 0 };
        groups.delete(key); // the newest last
        groups.set(key, { ...group, episodes: group.episodes + 1, sum: group.sum + world.sign * each.steps });
      }
      const newest = [...groups.values()].reverse().slice(0, 8);
      body.replaceChildren(...newest.map((group) =>
        h("tr", {},
          h("th", { scope: "row" },
            swatch(colour[group.driver], group.changed ? "pg-pale" : ""), names[group.driver]),
          h("td", {}, group.world),
          h("td", {}, grouped(group.episodes)),
          h("td", {}, number(group.sum / group.episodes, 1)))));
    }

    /* --- controls */
    const run = button("Run", () => {
      clock.on = !clock.on;
      draw();
    }, "pg-primary");
    const anew = button("New episode", () => {
      fresh();
      draw();
    });
    const many = button("Twenty at once", () => {
      for (let episode = 0; episode < 20; episode++) {
        fresh();
        while (!advanceOnce());
      }
      rest = 0.8;
      draw();
    });
    const show = (knob, value) => `${number(value * (knob.shown || 1), knob.digits ?? 1)}${knob.unit}`;
    const knobs = Object.fromEntries(Object.entries(world.physics).map(([name, knob]) => [name,
      slider(knob.label, {
        ...{ min: knob.min, max: knob.max, step: knob.step, value: physics[name] },
        show: (value) => show(knob, value),
        oninput: (value) => {
          physics[name] = value;
          fresh();
          draw();
        },
      })]));
    const back = button("As it was trained", () => {
      for (const name in usual) knobs[name].set((physics[name] = usual[name]));
      fresh();
      draw();
    });
    const speed = slider("Pace", {
      ...{ min: 0, max: PACES.length - 1, step: 1, value: 2, show: (i) => `${PACES[i]} ×` },
      oninput: (i) => (pace = PACES[i]),
    });
    const push = (text, which, key) => {
      const node = button(text, () => {}, "pg-push");
      node.setAttribute("aria-keyshortcuts", key);
      const take = () => hold(which), leave = () => held === which && (held = null);
      node.addEventListener("pointerdown", (event) => { node.setPointerCapture(event.pointerId); take(); });
      for (const end of ["pointerup", "pointercancel", "blur", "keyup"]) node.addEventListener(end, leave);
      node.addEventListener("keydown", (event) => (event.key === " " || event.key === "Enter") && take());
      return node;
    };
    const most = world.actions.length - 1;
    const pushes = h("div", { class: "pg-row pg-pushes" },
      push("← Push left", 0, "ArrowLeft"), push("Push right →", most, "ArrowRight"));
    function hold(which) {
      held = which;
      if (!clock.on) clock.on = true;
      draw();
    }
    const keys = { ArrowLeft: 0, a: 0, ArrowRight: most, d: most };
    root.addEventListener("keydown", (event) => {
      if (driver !== "you" || !(event.key in keys) || event.target.matches("input, select")) return;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      hold(keys[event.key]);
    });
    root.addEventListener("keyup", (event) => held !== null && keys[event.key] === held && (held = null));
    function took(name) {
      driver = name;
      held = null;
      pushes.hidden = name !== "you";
      many.disabled = name === "you";
      pace = name === "you" ? 0.5 : 1; // hands are slower than networks
      speed.set(PACES.indexOf(pace));
      fresh();
    }
    const wheel = choice("Who drives?", drivers, driver, (name) => {
      took(name);
      draw();
    });

    root.append(
      h("div", { class: "pg-stage" },
        wheel.node, canvas, pushes, h("div", { class: "pg-row" }, run, anew, many), state.node),
      h("div", { class: "pg-controls" },
        h("div", { class: "pg-sliders" }, Object.values(knobs).map((knob) => knob.node), speed.node),
        h("div", { class: "pg-row" }, back)),
      book,
    );
    took(driver);
    draw();
    return {
      tally,
      get state() {
        return [...now];
      },
    };
  };

  rlcourse.control = { CARTPOLE, MOUNTAINCAR, network, greedy, shelf };
  rlcourse.playground("cartpole", mountOf(CARTPOLE));
  rlcourse.playground("mountaincar", mountOf(MOUNTAINCAR));
})();
