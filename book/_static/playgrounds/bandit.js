/* The bandit: the reader's own pulls against three algorithms, all on the same machine with the same luck.

   What the n-th pull of an arm pays is drawn beforehand, the same for everybody: who fares better chose better.
   Epsilon-greedy; UCB1 (Auer et al. 2002); Thompson sampling with uniform priors (Thompson 1933). */
"use strict";

(() => {
  const { h, svg, button, slider, table, swatch, teller, ticker, number, count } = rlcourse;
  const { generator, argmaxRandomTies } = rlcourse;

  const PLAYERS = ["epsilon", "ucb", "thompson"];

  /* A machine: each arm's chance to pay one, and its luck. `pull(a, n)` is the n-th pull of arm a, from 0. */
  function machine(arms, seed) {
    const rng = generator(seed);
    const chances = Array.from({ length: arms }, () => rng.uniform(0.05, 0.95));
    const luck = chances.map((_, a) => ({ rng: generator(seed * 1000 + a + 1), drawn: [] }));
    const pull = (a, n) => {
      const { rng: own, drawn } = luck[a];
      while (drawn.length <= n) drawn.push(Number(own.random() < chances[a]));
      return drawn[n];
    };
    return { chances, best: Math.max(...chances), pull };
  }

  /* A number from Beta(a, b) as a share of two gammas (Marsaglia & Tsang 2000; shapes of one and more). */
  function gamma(shape, rng) {
    const d = shape - 1 / 3, c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = rng.normal(), v = (1 + c * x) ** 3;
      if (v > 0 && Math.log(1 - rng.random()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
    }
  }
  function beta(a, b, rng) {
    const first = gamma(a, rng), second = gamma(b, rng);
    return first / (first + second);
  }

  /* The next arm, given how often each was pulled and how much it has paid. */
  const CHOOSE = {
    epsilon(counts, sums, rng, epsilon) {
      if (rng.random() < epsilon) return rng.integer(counts.length);
      // An arm that was never pulled is hoped to pay always.
      return argmaxRandomTies(counts.map((n, a) => (n ? sums[a] / n : 1)), rng);
    },
    ucb(counts, sums, rng) {
      const t = counts.reduce((sum, n) => sum + n, 0);
      const bound = (n, a) => (n ? sums[a] / n + Math.sqrt((2 * Math.log(t)) / n) : Infinity);
      return argmaxRandomTies(counts.map(bound), rng);
    },
    thompson: (counts, sums, rng) =>
      argmaxRandomTies(counts.map((n, a) => beta(1 + sums[a], 1 + n - sums[a], rng)), rng),
  };

  function player(kind, world, seed) {
    const arms = world.chances.length;
    const zeros = () => new Array(arms).fill(0);
    const me = { kind, counts: zeros(), sums: zeros(), pulls: [], regret: [0], won: 0 };
    const rng = generator(seed);
    me.pull = (a) => {
      const reward = world.pull(a, me.counts[a]);
      me.counts[a] += 1;
      me.sums[a] += reward;
      me.won += reward;
      me.pulls.push(a);
      me.regret.push(me.regret.at(-1) + world.best - world.chances[a]);
      return reward;
    };
    me.play = (epsilon) => me.pull(CHOOSE[kind](me.counts, me.sums, rng, epsilon));
    return me;
  }
  const three = (world, seed) =>
    PLAYERS.map((kind, i) => player(kind, world, seed * 1000 + 501 + i));

  /* A whole contest of the three, for a seed. */
  function contest(arms, seed, steps, epsilon) {
    const world = machine(arms, seed);
    const players = three(world, seed);
    for (const each of players) for (let t = 0; t < steps; t++) each.play(epsilon);
    return { world, players };
  }

  /* --- the page --------------------------------------------------------------------------------- */

  const NAMES = { you: "You", epsilon: "ε-greedy", ucb: "UCB1", thompson: "Thompson" };
  const TONES = { you: 3, epsilon: 1, ucb: 2, thompson: 0 };
  const SERIES = ["epsilon", "ucb", "thompson", "you"];
  const MOST = 20_000; // pulls; the page stops there

  function mount(root, options) {
    const arms = Math.min(8, Math.max(2, Number(options.arms ?? 5)));
    let seed = Number(options.seed ?? 1), epsilon = Number(options.epsilon ?? 0.1);
    let world, players, shown = false, last = null;
    const state = teller();

    function deal() {
      world = machine(arms, seed);
      players = Object.fromEntries(three(world, seed).map((each) => [each.kind, each]));
      players.you = player("you", world, 0);
      clock.on = shown = false;
      last = null;
      draw();
    }
    const time = () => players.epsilon.pulls.length;

    /* One pull of yours is one pull of everybody's. */
    function mine(a) {
      if (time() >= MOST) return;
      last = { arm: a, reward: players.you.pull(a) };
      if (players.you.pulls.length > time()) theirs(1);
      draw();
    }
    function theirs(n) {
      for (let i = 0; i < n && time() < MOST; i++) for (const kind of PLAYERS) players[kind].play(epsilon);
    }

    /* --- the machine */
    const levers = Array.from({ length: arms }, (_, a) => {
      const name = h("span", {}, `Arm ${a + 1}`);
      const seen = h("span", { class: "pg-lever-seen" });
      const truth = h("span", { class: "pg-lever-truth" });
      const node = button("", () => mine(a), "pg-lever");
      node.setAttribute("aria-keyshortcuts", String(a + 1));
      node.append(name, seen, truth);
      return { node, seen, truth };
    });
    root.addEventListener("keydown", (event) => {
      const a = Number(event.key) - 1;
      if (!(a >= 0 && a < arms) || event.target.matches("input, select")) return;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      levers[a].node.focus();
      mine(a);
    });

    /* --- the curves */
    const axes = svg("g", {}), curves = svg("g", {}), ends = svg("g", {});
    const picture = svg("svg", { class: "pg-curves", role: "img", "aria-label": "" }, axes, curves, ends);
    const HEIGHT = 270, LEFT = 40, RIGHT = 98, TOP = 22, FOOT = 34;
    let width = 640;
    new ResizeObserver(() => {
      width = Math.max(280, picture.clientWidth || 640);
      draw();
    }).observe(picture);

    function ticksTo(most) {
      const raw = most / 4, power = 10 ** Math.floor(Math.log10(raw));
      const by = power * [1, 2, 5, 10].find((k) => k * power >= raw);
      return Array.from({ length: Math.floor(most / by) + 1 }, (_, i) => i * by);
    }

    function draw() {
      const longest = Math.max(20, ...SERIES.map((kind) => players[kind].pulls.length));
      const highest = Math.max(2, ...SERIES.map((kind) => players[kind].regret.at(-1)));
      const x = (t) => LEFT + (t / longest) * (width - LEFT - RIGHT);
      const y = (r) => HEIGHT - FOOT - (r / highest) * (HEIGHT - FOOT - TOP);
      picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      axes.replaceChildren(
        svg("path", { class: "pg-frame", d: `M${LEFT} ${TOP}V${y(0)}H${width - RIGHT}` }),
        ...ticksTo(longest).map((t) =>
          svg("text", { x: x(t), y: y(0) + 18, "text-anchor": "middle" }, count(t))),
        ...ticksTo(highest).map((r) =>
          svg("text", { x: LEFT - 7, y: y(r) + 5, "text-anchor": "end" }, String(+r.toPrecision(3)))),
        svg("text", { x: LEFT + 8, y: TOP - 6, class: "pg-title" }, "regret: paid for not knowing"),
        svg("text", { x: width - RIGHT, y: HEIGHT - 2, "text-anchor": "end", class: "pg-title" }, "pulls"));
      const stops = [];
      curves.replaceChildren(...SERIES.filter((kind) => players[kind].pulls.length).map((kind) => {
        const { regret } = players[kind];
        const by = Math.max(1, Math.floor(regret.length / 400)); // no more points than the eye can see
        const at = (t) => `${x(t).toFixed(1)} ${y(regret[t]).toFixed(1)}`;
        const points = [];
        for (let t = 0; t < regret.length; t += by) points.push(at(t));
        const end = regret.length - 1;
        points.push(at(end));
        stops.push({ kind, x: x(end), y: y(regret[end]) });
        const yours = kind === "you" ? " pg-yours" : "";
        return svg("path", {
          class: `pg-curve pg-stroke-${TONES[kind]}${yours}`,
          d: `M${points.join("L")}`,
        });
      }));
      // Names at the ends of the curves, pushed apart where they would lie on each other.
      stops.sort((a, b) => a.y - b.y);
      stops.forEach((stop, i) => (stop.label = Math.max(stop.y, i ? stops[i - 1].label + 17 : 0)));
      const spill = Math.max(0, (stops.at(-1)?.label ?? 0) - (HEIGHT - FOOT));
      ends.replaceChildren(...stops.map(({ kind, x: right, label }) =>
        svg("text", { x: right + 8, y: label - spill + 5, class: `pg-name-${TONES[kind]}` }, NAMES[kind])));
      levers.forEach(({ node, seen, truth }, a) => {
        const n = players.you.counts[a];
        seen.textContent = n ? `${players.you.sums[a]} of ${n} paid` : "never pulled";
        truth.textContent = shown ? `pays ${number(100 * world.chances[a], 0)} %` : "";
        node.classList.toggle("pg-won", last?.arm === a && last.reward === 1);
        node.classList.toggle("pg-lost", last?.arm === a && last.reward === 0);
        node.classList.toggle("pg-best", shown && world.chances[a] === world.best);
      });
      for (const kind of SERIES) {
        const { pulls, won, regret } = players[kind];
        const cells = rows[kind].querySelectorAll("td");
        [count(pulls.length), count(won), number(regret.at(-1), 1)].forEach((text, i) => {
          if (cells[i].textContent !== text) cells[i].textContent = text;
        });
      }
      const label = clock.on ? "Pause" : "Let them play";
      if (run.textContent !== label) run.textContent = label;
      reveal.textContent = shown ? "Hide the truth" : "Show the truth";
      const words = sentence();
      picture.setAttribute("aria-label", `Regret against pulls. ${words}`);
      state.tell(words);
    }

    function sentence() {
      const said = last ? `Arm ${last.arm + 1} ${last.reward ? "paid" : "did not pay"}. ` : "";
      if (!time()) {
        return `${arms} arms, each pays with a chance of its own. Pull one: with every pull of yours ` +
          "the three others pull too.";
      }
      const regrets = SERIES.filter((kind) => players[kind].pulls.length)
        .map((kind) => `${NAMES[kind]} ${number(players[kind].regret.at(-1), 1)}`);
      return `${said}Regret so far: ${regrets.join(", ")}.`;
    }

    /* --- controls */
    const clock = ticker(root, (seconds) => {
      theirs(Math.max(1, Math.round(seconds * 300)));
      if (time() >= MOST) clock.on = false;
      draw();
    });
    const run = button("Let them play", () => {
      clock.on = !clock.on && time() < MOST;
      draw();
    }, "pg-primary");
    const hundred = button("A hundred pulls", () => {
      theirs(100);
      draw();
    });
    const reveal = button("Show the truth", () => {
      shown = !shown;
      draw();
    });
    const again = button("Again", deal);
    const use = (chosen) => {
      seed = chosen;
      which.set(seed);
      deal();
    };
    const next = button("Another machine", () => use((seed % 99) + 1));
    const which = slider("Machine number", { min: 1, max: 99, step: 1, value: seed, oninput: use });
    const explore = slider("Exploration ε", {
      ...{ min: 0, max: 1, step: 0.01, value: epsilon, show: (value) => number(value) },
      oninput: (value) => (epsilon = value),
    });
    const rows = Object.fromEntries(SERIES.map((kind) => [kind,
      h("tr", {}, h("th", { scope: "row" }, swatch(TONES[kind]), NAMES[kind]), h("td"), h("td"), h("td"))]));

    root.append(
      h("div", { class: "pg-stage" },
        h("div", { class: "pg-levers", role: "group", "aria-label": "Arms: pull one, or press its number" },
          levers.map((lever) => lever.node)),
        state.node, picture,
        h("div", { class: "pg-row" }, run, hundred, reveal, again, next)),
      h("div", { class: "pg-controls" },
        h("div", { class: "pg-sliders" }, explore.node, which.node),
        table(["Who", "Pulls", "Won", "Regret"], h("tbody", {}, Object.values(rows)))),
    );
    deal();
    return {
      get players() {
        return players;
      },
      get chances() {
        return [...world.chances];
      },
    };
  }

  rlcourse.bandit = { machine, gamma, beta, CHOOSE, player, contest };
  rlcourse.playground("bandit", mount);
})();
