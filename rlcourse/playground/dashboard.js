// The page of a playground: it shows what Python has computed. Text from a file is only ever text here
// (textContent, text nodes, data of a chart): nothing of it is markup, script or an expression.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const night = matchMedia("(prefers-color-scheme: dark)");
  const number = (x) => String(Number(x.toPrecision(4))).replace(/^-/, "−");
  const signed = (x) => (x > 0 ? "+" : "") + number(x);
  const thousands = (x) => x.toLocaleString("en-GB");
  const distinct = (values) => [...new Set(values)];

  function make(tag, attributes = {}, ...children) {
    const space = ["svg", "polyline"].includes(tag) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
    const element = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  const fact = (name, value) => make("div", {}, make("dt", {}, name), make("dd", {}, value));
  const row = (cells, head = 1) =>
    make("tr", {}, ...cells.map((cell, i) => make("td", i < head ? { class: "text" } : {}, cell)));

  // --- what there is ---------------------------------------------------------------------------------

  const several = data.runs.length > 1;
  const worlds = distinct(data.pairs.map((pair) => pair.environment));
  const keys = distinct(data.pairs.map((pair) => JSON.stringify([pair.policy, pair.run])));
  data.pairs.forEach((pair, index) => {
    const order = keys.indexOf(JSON.stringify([pair.policy, pair.run]));
    pair.index = index;
    pair.label = several ? `${pair.policy} · ${data.runs[pair.run].name}` : pair.policy;
    pair.colour = `--series-${order % data.colours.length}`;
  });
  data.colours.forEach((colour, i) => // paler on dark paper
    document.documentElement.style.setProperty(`--series-${i}`, `light-dark(${colour}, color-mix(in srgb, ${colour} 70%, white))`));
  const inWorld = (name) => data.pairs.filter((pair) => pair.environment === name);
  const gaps = new Map();
  for (const [i, j, value, low, high, starts] of data.differences) {
    gaps.set(`${i} ${j}`, { value, low, high, starts });
    gaps.set(`${j} ${i}`, { value: -value, low: -high, high: -low, starts });
  }
  const endedBy = ([, , , terminated, truncated]) =>
    terminated && truncated ? "both" : terminated ? "the world" : "the time limit";
  const now = { world: worlds[0], pair: data.pairs[0], episode: 0, reference: null, moment: 0, sort: ["", 1] };
  const swatch = (pair) => make("span", { class: "swatch", style: `background:var(${pair.colour})`, "aria-hidden": "true" });

  function tellAll() {
    const episodes = data.pairs.reduce((sum, pair) => sum + pair.episodes.length, 0);
    const steps = data.pairs.reduce((sum, pair) => pair.episodes.reduce((s, e) => s + e[2], sum), 0);
    const policies = distinct(data.pairs.map((pair) => pair.policy));
    $("about").textContent = several
      ? `${data.runs.length} runs side by side`
      : `Every policy on the same seeds, from seed ${data.runs[0].seed}`;
    const counts = { environments: worlds.length, policies: policies.length, episodes, steps };
    if (several) counts.runs = data.runs.length;
    for (const [name, count] of Object.entries(counts))
      $("chips").append(fact(count === 1 ? name.replace(/ie(?=s$)/, "y").replace(/s$/, "") : name, thousands(count)));
    for (const run of data.runs) {
      const stopped = run.complete ? "" : "; stopped early, what was finished is here";
      const versions = Object.entries(run.versions).map(([name, version]) => `${name} ${version}`).join(", ");
      $("source").append(make("p", {}, `${run.name}: ${run.asked} episodes each asked for, seed ${run.seed}${stopped}. ${versions}.`));
      for (const { environment, policy, message } of run.problems)
        $("problems").querySelector("ul").append(make("li", {}, `${environment}${policy ? ", " + policy : ""}: ${message}`));
    }
    const problems = $("problems").querySelectorAll("li").length;
    $("problems").hidden = problems === 0;
    $("problems").open = problems < 3;
    $("problems").querySelector("summary").textContent = `${problems} ${problems === 1 ? "was" : "were"} not played`;
  }

  // --- charts ----------------------------------------------------------------------------------------

  function colour(name) {
    const probe = document.body.appendChild(make("span", { style: `color:var(${name})` }));
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  const drawn = {};
  async function chart(id, alt, spec, onChoose) {
    const place = $(id), turn = (drawn[id]?.turn ?? 0) + 1;
    const many = now.world && inWorld(now.world).some((pair) => pair.episodes.length > 300);
    drawn[id] = { ...drawn[id], turn };
    const [ink, quiet, line] = ["--ink", "--quiet", "--line"].map(colour);
    const font = getComputedStyle(document.body).fontFamily;
    const config = {
      background: null, font, view: { stroke: null },
      axis: { labelColor: quiet, titleColor: quiet, gridColor: line, domainColor: line, tickColor: line,
              labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelLimit: 130, titlePadding: 8, tickCount: 6 },
      axisY: { domain: false, ticks: false },
      rule: { color: ink }, point: { color: ink },
    };
    const embedded = await vegaEmbed(place, { width: "container", autosize: { type: "fit-x", contains: "padding" }, ...spec, config }, {
      mode: "vega-lite", actions: false, ast: true, defaultStyle: false, renderer: many ? "canvas" : "svg", tooltip: tip,
    });
    if (drawn[id].turn !== turn) return embedded.finalize(); // another one was asked for meanwhile
    drawn[id].embedded?.finalize();
    drawn[id].embedded = embedded;
    place.setAttribute("role", "img"); // one sentence in place of hundreds of marks
    place.setAttribute("aria-label", alt);
    place.removeAttribute("aria-roledescription");
    if (onChoose) embedded.view.addEventListener("click", (event, item) => item?.datum?.pair !== undefined && onChoose(item.datum));
  }

  function tip(handler, event, item, value) {
    $("tip").hidden = !value;
    if (!value) return;
    $("tip").textContent = String(value);
    $("tip").style.left = `${Math.min(event.clientX + 14, innerWidth - $("tip").offsetWidth - 8)}px`;
    $("tip").style.top = `${Math.min(event.clientY + 14, innerHeight - $("tip").offsetHeight - 8)}px`;
  }

  function points(pairs) {
    return pairs.flatMap((pair) => pair.episodes.map(([seed, gain, length], i) => ({
      pair: pair.index, label: pair.label, episode: i + 1, gain, lane: -0.85 + 0.9 * ((i * 0.61803) % 1),
      tip: `${pair.label}\nepisode ${i + 1}: return ${number(gain)} in ${length} steps`,
    })));
  }
  const colouring = (pairs) => ({
    field: "pair", type: "nominal", legend: null,
    scale: { domain: pairs.map((pair) => pair.index), range: pairs.map((pair) => colour(pair.colour)) },
  });
  const told = (pairs) => pairs.map(({ label, summary: s }) =>
    `${label}: mean ${number(s.mean)}, 95 % interval ${number(s.low)} to ${number(s.high)}`).join("; ");

  function drawWorld() {
    const pairs = inWorld(now.world), values = points(pairs);
    $("world-head").textContent = now.world;
    $("legend").replaceChildren(...pairs.map((pair) => make("li", {}, swatch(pair), pair.label)));
    const rows = { field: "label", type: "nominal", sort: null, title: null, axis: { labelPadding: 10 } };
    const lane = (field) => ({ [field === "lane" ? "field" : "datum"]: field, type: "quantitative", scale: { domain: [-1.1, 1.1] } });
    const summaries = pairs.map((pair) => ({ label: pair.label, ...pair.summary }));
    const of = { field: "tip", type: "nominal" };
    chart("spread", `Returns in ${now.world}. ${told(pairs)}.`, {
      height: 74 * pairs.length, data: { values },
      layer: [
        { mark: { type: "circle", size: 26, opacity: Math.max(0.25, Math.min(0.7, 14 / Math.sqrt(values.length))), cursor: "pointer" },
          encoding: { x: { field: "gain", type: "quantitative", title: "return of an episode", scale: { zero: false, nice: true } },
                      y: rows, yOffset: lane("lane"), color: colouring(pairs), tooltip: of } },
        { data: { values: summaries }, mark: { type: "rule", strokeWidth: 2 },
          encoding: { x: { field: "low", type: "quantitative" }, x2: { field: "high" }, y: rows, yOffset: lane(0.55) } },
        { data: { values: summaries }, mark: { type: "point", filled: true, size: 55, opacity: 1 },
          encoding: { x: { field: "mean", type: "quantitative" }, y: rows, yOffset: lane(0.55) } },
      ],
    }, choosePoint);
    chart("order", `Returns in ${now.world}, episode by episode. ${told(pairs)}.`, {
      height: Math.max(200, 74 * pairs.length), data: { values },
      params: [{ name: "chosen", value: now.episode + 1 }],
      layer: [
        { data: { values: [{}] }, transform: [{ calculate: "chosen", as: "at" }], mark: { type: "rule", strokeDash: [3, 3] },
          encoding: { x: { field: "at", type: "quantitative" } } },
        { mark: { type: "circle", size: 34, opacity: Math.max(0.35, Math.min(0.8, 16 / Math.sqrt(values.length))), cursor: "pointer" },
          encoding: { x: { field: "episode", type: "quantitative", title: "episode", axis: { grid: false, tickMinStep: 1, format: "d" },
                           scale: { zero: false, nice: false, padding: 8 } },
                      y: { field: "gain", type: "quantitative", title: "return", scale: { zero: false, nice: true } },
                      color: colouring(pairs), tooltip: of } },
      ],
    }, choosePoint);
  }

  function drawDifferences() {
    const pairs = inWorld(now.world);
    $("compare").hidden = pairs.length < 2;
    if (pairs.length < 2) return;
    if (!pairs.includes(now.reference)) now.reference = pairs[0];
    const others = pairs.filter((pair) => pair !== now.reference);
    $("compare-head").textContent = `Compared in ${now.world}`;
    $("reference").replaceChildren(...pairs.map((pair) => new Option(pair.label, pair.index, false, pair === now.reference)));
    const found = others.map((pair) => ({ pair, ...gaps.get(`${pair.index} ${now.reference.index}`) }));
    $("differences").tBodies[0].replaceChildren(...found.map(({ pair, value, low, high, starts }) => row([
      make("span", {}, swatch(pair), pair.label), signed(value), `[${number(low)}, ${number(high)}]`, starts ? thousands(starts) : "none",
      low > 0 ? "higher" : high < 0 ? "lower" : "cannot tell",
    ])));
    const values = found.map(({ pair, value, low, high }) => ({ label: pair.label, index: pair.index, value, low, high }));
    const y = { field: "label", type: "nominal", sort: null, title: null, axis: { labelPadding: 10 } };
    const paint = { ...colouring(others), field: "index" };
    const alt = found.map((gap) => `${gap.pair.label} ${signed(gap.value)}, 95 % interval ${number(gap.low)} to ${number(gap.high)}`);
    chart("gaps", `Differences to ${now.reference.label}: ${alt.join("; ")}.`, {
      height: 44 * others.length, data: { values },
      layer: [
        { data: { values: [{ zero: 0 }] }, mark: { type: "rule", strokeDash: [3, 3] }, encoding: { x: { field: "zero", type: "quantitative" } } },
        { mark: { type: "rule", strokeWidth: 3 },
          encoding: { x: { field: "low", type: "quantitative", title: "difference of the mean returns" }, x2: { field: "high" }, y, color: paint } },
        { mark: { type: "point", filled: true, size: 90, opacity: 1 }, encoding: { x: { field: "value", type: "quantitative" }, y, color: paint } },
      ],
    });
  }

  function sparkline(pairs) {
    const all = pairs.flatMap((pair) => pair.episodes.map((episode) => episode[1]));
    const low = all.reduce((a, b) => Math.min(a, b)), high = all.reduce((a, b) => Math.max(a, b));
    const picture = make("svg", { viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" });
    for (const { episodes, colour } of pairs) {
      const bins = Math.min(60, episodes.length); // of many episodes, means of neighbours
      const heights = Array.from({ length: bins }, (_, bin) => {
        const part = episodes.slice(Math.floor((bin * episodes.length) / bins), Math.floor(((bin + 1) * episodes.length) / bins));
        return part.reduce((sum, episode) => sum + episode[1], 0) / part.length;
      });
      const at = heights.map((y, i) => `${bins > 1 ? (100 * i) / (bins - 1) : 50},${high > low ? 29 - (28 * (y - low)) / (high - low) : 15}`);
      if (bins === 1) at.push(at[0].replace("50", "51"));
      picture.append(make("polyline", {
        points: at.join(" "), style: `fill:none;stroke:var(${colour})`, "stroke-width": 1.6, "stroke-linejoin": "round",
        "vector-effect": "non-scaling-stroke",
      }));
    }
    return picture;
  }

  function listWorlds() {
    $("worlds").replaceChildren(...worlds.map((name) => {
      const pairs = inWorld(name);
      const card = make("button", { type: "button", class: "card", "aria-pressed": name === now.world });
      const means = pairs.map((pair) => make("span", { class: "row" }, make("span", {}, swatch(pair), pair.label), make("span", {}, number(pair.summary.mean))));
      card.append(make("b", {}, name), sparkline(pairs), ...means);
      card.addEventListener("click", () => chooseWorld(name));
      return card;
    }));
  }

  // --- the table -------------------------------------------------------------------------------------

  const COLUMNS = [
    ["environment", "environment", (pair) => pair.environment],
    ["policy", "policy", (pair) => pair.policy],
    ...(several ? [["run", "run", (pair) => data.runs[pair.run].name]] : []),
    ["mean", "mean", (pair) => pair.summary.mean],
    ["low", "95 % interval", (pair) => pair.summary.low],
    ["iqm", "IQM", (pair) => pair.summary.iqm],
    ["best", "best", (pair) => pair.summary.best],
    ["worst", "worst", (pair) => pair.summary.worst],
    ["length", "length", (pair) => pair.summary.length],
    ["episodes", "episodes", (pair) => pair.episodes.length],
  ];

  function makeTable() {
    $("numbers").tHead.rows[0].append(...COLUMNS.map(([key, title]) => {
      const button = make("button", { type: "button" }, title);
      button.addEventListener("click", () => {
        const [sorted, direction] = now.sort;
        const text = ["environment", "policy", "run"].includes(key);
        now.sort = [key, sorted === key ? -direction : text ? 1 : -1]; // numbers: the highest first
        fillTable();
      });
      return make("th", { scope: "col", "data-key": key, class: ["environment", "policy", "run"].includes(key) ? "text" : "" }, button);
    }));
  }

  function fillTable() {
    const [key, direction] = now.sort, value = COLUMNS.find((column) => column[0] === key)?.[2] ?? ((pair) => pair.index); // first as asked for
    for (const head of $("numbers").tHead.rows[0].cells) {
      if (head.dataset.key === key) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
    const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en"));
    const sorted = [...data.pairs].sort((a, b) => direction * compare(value(a), value(b)) || a.index - b.index);
    $("numbers").tBodies[0].replaceChildren(...sorted.map((pair) => {
      const choose = make("button", { type: "button" }, swatch(pair), pair.policy);
      const cells = COLUMNS.map(([key, , read]) => {
        if (key === "policy") return choose;
        if (key === "low") return `[${number(pair.summary.low)}, ${number(pair.summary.high)}]`;
        const found = read(pair);
        return typeof found === "number" ? number(found) : found;
      });
      const line = row(cells, several ? 3 : 2);
      line.dataset.pair = pair.index;
      line.addEventListener("click", () => choosePair(pair, 0));
      return line;
    }));
    markRow();
  }

  function markRow() {
    for (const line of $("numbers").tBodies[0].rows) {
      line.classList.toggle("chosen", Number(line.dataset.pair) === now.pair.index);
    }
  }

  // --- one episode -----------------------------------------------------------------------------------

  function tellEpisode() {
    const { pair } = now, episode = pair.episodes[now.episode], [seed, gain, length] = episode;
    $("one-head").textContent = `One episode in ${now.world}`;
    $("pair").replaceChildren(...inWorld(now.world).map((other) => new Option(other.label, other.index, false, other === pair)));
    $("number").max = pair.episodes.length;
    $("number").value = now.episode + 1;
    $("of").textContent = `of ${thousands(pair.episodes.length)}`;
    $("before").disabled = now.episode === 0;
    $("after").disabled = now.episode === pair.episodes.length - 1;
    const better = pair.episodes.filter((other) => other[1] > gain).length;
    $("facts").replaceChildren(fact("return", number(gain)), fact("steps", thousands(length)), fact("ended by", endedBy(episode)),
      fact("rank", `${thousands(better + 1)} of ${thousands(pair.episodes.length)}`), fact("seed", String(seed)));
    const same = inWorld(now.world).flatMap((other) => other.episodes.filter((e) => e[0] === seed).slice(0, 1).map((e) => [other, e]));
    $("siblings").tBodies[0].replaceChildren(...same.map(([other, e]) =>
      row([make("span", {}, swatch(other), other.label), number(e[1]), thousands(e[2]), endedBy(e)])));
    drawn.order?.embedded?.view.signal("chosen", now.episode + 1).runAsync();
    stop();
    now.moment = 0;
    showReplay();
    markRow();
  }

  const STATES = {
    CartPole: ["cart position", "cart velocity", "pole angle", "pole velocity"],
    MountainCar: ["position", "velocity"],
    Pendulum: ["cosine", "sine", "angular velocity"],
    Acrobot: ["cosine 1", "sine 1", "cosine 2", "sine 2", "velocity 1", "velocity 2"],
    LunarLander: ["x", "y", "velocity x", "velocity y", "angle", "angular velocity", "left leg", "right leg"],
  };
  const ACTIONS = {
    CartPole: ["push left", "push right"],
    MountainCar: ["push left", "coast", "push right"],
    Acrobot: ["torque −1", "none", "torque +1"],
    LunarLander: ["none", "left engine", "main engine", "right engine"],
    FrozenLake: ["left", "down", "right", "up"],
    CliffWalking: ["up", "right", "down", "left"],
    Taxi: ["south", "north", "east", "west", "pick up", "drop off"],
  };
  const RATES = { CartPole: 50, MountainCar: 30, Pendulum: 30, Acrobot: 15, LunarLander: 50 };
  // Only the worlds that Gymnasium registers, or a stranger's of the same name would be drawn as another one.
  const kind = () => /^(CartPole|MountainCar|Pendulum|Acrobot|LunarLander|FrozenLake|CliffWalking|Taxi)(Continuous)?-v\d+$/.exec(now.world)?.[1];
  const recording = () => now.pair.recordings.find((one) => one.episode === now.episode);

  function showReplay() {
    const shown = recording();
    $("replay").hidden = !shown;
    $("unrecorded").hidden = Boolean(shown);
    if (!shown) {
      const kept = now.pair.recordings.map((one) => one.episode + 1);
      $("unrecorded").textContent = kept.length
        ? `There is no recording of this episode. Of this policy there is one of episode ${kept.join(", ")}.`
        : "There is no recording of this policy in this environment.";
      return;
    }
    const frame = shown.frames[now.moment], action = shown.actions[now.moment], inText = typeof frame === "string";
    $("moment").max = shown.frames.length - 1;
    $("moment").value = now.moment;
    $("moment").setAttribute("aria-valuetext", `step ${shown.steps[now.moment]}`);
    $("stage").hidden = inText;
    $("letters").hidden = !inText;
    $("back").disabled = now.moment === 0;
    $("forth").disabled = now.moment === shown.frames.length - 1;
    const named = ACTIONS[kind()]?.[action] ?? (action === null ? "the end" : Array.isArray(action) ? action.map(number).join(", ") : String(action));
    const state = [["step", thousands(shown.steps[now.moment])], ["return so far", number(shown.gained[now.moment])], ["next", named]];
    if (inText) $("letters").replaceChildren(...inColour(frame));
    else {
      const names = STATES[kind()] ?? [];
      frame.forEach((value, i) => state.push([names[i] ?? `observation ${i}`, value.toFixed(3).replace("-", "−")]));
      drawStage(shown, frame, action);
    }
    $("state").replaceChildren(...state.map(([name, value]) => fact(name, value)));
  }

  // Worlds mark places with the colour codes of a terminal: they become spans, their text stays text.
  function inColour(text) {
    let style = "";
    return text.split(/(\x1b\[[\d;]*m)/).flatMap((part) => {
      if (part.startsWith("\x1b[")) {
        style = part === "\x1b[0m" ? "" : /\[4\d/.test(part) ? "on" : "tint";
        return [];
      }
      return part ? [style ? make("span", { class: style }, part) : part] : [];
    });
  }

  let timer = 0;
  function stop() {
    clearTimeout(timer);
    timer = 0;
    $("play").textContent = "Play";
    $("state").setAttribute("aria-live", "polite");
  }
  function move(to) {
    now.moment = Math.max(0, Math.min(recording().frames.length - 1, to));
    showReplay();
  }
  function play() {
    const { steps, frames } = recording();
    if (now.moment === frames.length - 1) now.moment = 0;
    $("play").textContent = "Pause";
    $("state").setAttribute("aria-live", "off"); // nobody can listen that fast
    const tick = () => {
      move(now.moment + 1);
      if (now.moment === frames.length - 1) return stop();
      const ahead = steps[now.moment + 1] - steps[now.moment];
      const pause = Math.max(calm.matches ? 500 : 16, (1000 * ahead) / (RATES[kind()] ?? 4)); // real time, or calmly
      timer = setTimeout(tick, pause);
    };
    timer = setTimeout(tick, 0);
  }

  // --- the stage: pictures from observations ---------------------------------------------------------

  function drawStage(shown, o, action) {
    const stage = $("stage"), scale = devicePixelRatio || 1, width = stage.clientWidth, height = stage.clientHeight;
    stage.width = width * scale;
    stage.height = height * scale;
    const pen = stage.getContext("2d"), [ink, quiet, line, soft] = ["--ink", "--quiet", "--line", "--soft"].map(colour), mark = colour(now.pair.colour);
    pen.scale(scale, scale);
    pen.lineCap = pen.lineJoin = "round";
    const path = (at, stroke, thick, fill) => {
      pen.beginPath();
      at.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      if (fill) { pen.fillStyle = fill; pen.fill(); }
      if (stroke) { pen.strokeStyle = stroke; pen.lineWidth = thick; pen.stroke(); }
    };
    const disc = (x, y, radius, fill) => { pen.beginPath(); pen.arc(x, y, radius, 0, 7); pen.fillStyle = fill; pen.fill(); };
    const arrow = (x, y, dx) => dx && path([[x, y], [x + dx, y], [x + 0.72 * dx, y - 5], [x + dx, y], [x + 0.72 * dx, y + 5]], ink, 1.5);
    const push = Array.isArray(action) ? action[0] : action;
    const unit = Math.min(width / 3, height / 2); // a third of the width, half the height
    const draw = {
      CartPole() {
        const one = width / 5.6, x = width / 2 + o[0] * one, y = 0.74 * height;
        path([[0, y + 13], [width, y + 13]], line, 1.5);
        for (const side of [-2.4, 2.4]) path([[width / 2 + side * one, y + 4], [width / 2 + side * one, y + 22]], quiet, 1.5);
        pen.fillStyle = ink;
        pen.beginPath();
        pen.roundRect(x - 0.25 * one, y - 9, 0.5 * one, 20, 4);
        pen.fill();
        path([[x, y - 6], [x + Math.sin(o[2]) * one * 1.15, y - 6 - Math.cos(o[2]) * one * 1.15]], mark, 8);
        if (action !== null) arrow(x + (push ? 0.3 : -0.3) * one, y + 1, push ? 26 : -26);
      },
      MountainCar() {
        const at = (x) => [((x + 1.25) / 1.9) * width, height * (0.93 - 0.72 * (0.5 + 0.5 * Math.sin(3 * x)))];
        const hill = Array.from({ length: 96 }, (_, i) => at(-1.25 + (1.9 * i) / 95));
        path([...hill, [width, height], [0, height]], null, 0, soft);
        path(hill, quiet, 1.5);
        const [fx, fy] = at(now.world.includes("Continuous") ? 0.45 : 0.5);
        path([[fx, fy], [fx, fy - 34]], ink, 1.5);
        path([[fx, fy - 34], [fx + 16, fy - 28], [fx, fy - 22]], null, 0, mark);
        const [x, y] = at(o[0]), force = Array.isArray(action) ? push : push - 1;
        disc(x, y - 9, 9, mark);
        if (action !== null) arrow(x + 13 * Math.sign(force), y - 9, 24 * force);
      },
      Pendulum() {
        const x = width / 2, y = height / 2, r = 0.8 * unit;
        pen.setLineDash([3, 5]);
        pen.beginPath(); pen.arc(x, y, r, 0, 7); pen.strokeStyle = line; pen.lineWidth = 1.5; pen.stroke();
        pen.setLineDash([]);
        path([[x, y], [x - r * o[1], y - r * o[0]]], mark, 14);
        disc(x, y, 5, ink);
        if (action !== null) arrow(x, y + r + 16, -20 * push);
      },
      Acrobot() {
        const x = width / 2, y = 0.46 * height, r = 0.46 * unit, [c1, s1, c2, s2] = o;
        const middle = [x + r * s1, y + r * c1];
        const tip = [middle[0] + r * (s1 * c2 + c1 * s2), middle[1] + r * (c1 * c2 - s1 * s2)];
        pen.setLineDash([3, 5]);
        path([[0.1 * width, y - r], [0.9 * width, y - r]], quiet, 1.5);
        pen.setLineDash([]);
        path([[x, y], middle], ink, 9);
        path([middle, tip], mark, 9);
        for (const joint of [[x, y], middle]) disc(...joint, 3.5, soft);
      },
      LunarLander() {
        const x = (v) => width / 2 + (v * width) / 2.3, y = (v) => 0.86 * height - v * 0.55 * height, size = height / 22;
        path([[0, height], [0, y(-0.03)], [width, y(-0.03)], [width, height]], null, 0, soft);
        path([[x(-0.2), y(-0.03)], [x(0.2), y(-0.03)]], quiet, 3);
        for (const side of [-0.2, 0.2]) {
          path([[x(side), y(-0.03)], [x(side), y(-0.03) - 20]], ink, 1.5);
          path([[x(side), y(-0.03) - 20], [x(side) + 12, y(-0.03) - 15], [x(side), y(-0.03) - 10]], null, 0, mark);
        }
        const turn = ([u, v]) => [
          x(o[0]) + size * (u * Math.cos(-o[4]) - v * Math.sin(-o[4])), y(o[1]) - size * 0.9 + size * (u * Math.sin(-o[4]) + v * Math.cos(-o[4])),
        ];
        const [main, side] = Array.isArray(action) ? [action[0] > 0, Math.abs(action[1]) > 0.5 ? Math.sign(action[1]) : 0]
          : [action === 2, action === 1 ? -1 : action === 3 ? 1 : 0];
        if (main) path([[-0.4, 0.7], [0, 2.4], [0.4, 0.7]].map(turn), null, 0, "#E69F00");
        if (side) path([[side * 0.9, -0.3], [side * 2, -0.1], [side * 0.9, 0.1]].map(turn), null, 0, "#E69F00");
        for (const [leg, touching] of [[-1, o[6]], [1, o[7]]]) path([[leg * 0.6, 0.5], [leg * 1.15, 1.4]].map(turn), touching ? mark : ink, 3);
        path([[-0.7, -0.9], [0.7, -0.9], [0.95, 0], [0.7, 0.7], [-0.7, 0.7], [-0.95, 0]].map(turn), null, 0, ink);
      },
    };
    const picture = draw[kind()], fits = picture && STATES[kind()].length === o.length;
    if (fits) picture();
    else drawTraces(shown, pen, path, width, height, quiet, line, mark);
    const words = fits ? "drawn" : "no picture of this environment: its observations over time";
    stage.setAttribute("aria-label", `Replay of ${now.pair.label} in ${now.world}, ${words}; the numbers stand below.`);
  }

  // A world that nobody has drawn: each number of its observation over time, and where we are.
  function drawTraces(shown, pen, path, width, height, quiet, line, mark) {
    const lanes = shown.frames[0].length, tall = (height - 24) / lanes, last = Math.max(1, shown.steps.at(-1));
    const x = (step) => 70 + ((width - 90) * step) / last;
    pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    for (let lane = 0; lane < lanes; lane++) {
      const values = shown.frames.map((frame) => frame[lane] ?? 0), low = Math.min(...values), high = Math.max(...values);
      const y = (value) => 12 + tall * (lane + 0.85 - (high > low ? (0.7 * (value - low)) / (high - low) : 0.35));
      path([[70, 12 + tall * (lane + 1)], [width - 20, 12 + tall * (lane + 1)]], line, 1);
      path(values.map((value, i) => [x(shown.steps[i]), y(value)]), mark, 1.5);
      pen.fillStyle = quiet;
      if (tall > 11) pen.fillText(`obs. ${lane}`, 14, 12 + tall * (lane + 0.6));
    }
    path([[x(shown.steps[now.moment]), 8], [x(shown.steps[now.moment]), height - 8]], quiet, 1.5);
  }

  // --- choosing --------------------------------------------------------------------------------------

  function chooseWorld(name) {
    if (name === now.world) return;
    now.world = name;
    if (now.pair.environment !== name) [now.pair, now.episode] = [inWorld(name)[0], 0];
    for (const card of $("worlds").children) card.setAttribute("aria-pressed", card.querySelector("b").textContent === name);
    drawWorld();
    drawDifferences();
    tellEpisode();
  }
  function choosePair(pair, episode) {
    const moved = pair.environment !== now.world;
    [now.pair, now.episode] = [pair, Math.min(episode, pair.episodes.length - 1)];
    if (moved) chooseWorld(pair.environment);
    else tellEpisode();
  }
  const choosePoint = (datum) => choosePair(data.pairs[datum.pair], datum.episode - 1);

  function setTheme(theme) {
    document.documentElement.dataset.theme = theme;
    $("theme").textContent = theme === "dark" ? "Light theme" : "Dark theme";
    if (!worlds.length) return;
    drawWorld();
    drawDifferences();
    showReplay();
  }

  tellAll();
  $("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  night.addEventListener("change", () => setTheme(night.matches ? "dark" : "light"));
  if (!worlds.length) {
    for (const section of document.querySelectorAll("main > section")) section.hidden = true;
    setTheme(night.matches ? "dark" : "light");
    return;
  }
  $("reference").addEventListener("change", (event) => { now.reference = data.pairs[event.target.value]; drawDifferences(); });
  $("choose").addEventListener("submit", (event) => event.preventDefault());
  $("pair").addEventListener("change", (event) => choosePair(data.pairs[event.target.value], now.episode));
  $("number").addEventListener("change", (event) => {
    const wanted = Math.round(Number(event.target.value)) || 1;
    choosePair(now.pair, Math.max(1, Math.min(now.pair.episodes.length, wanted)) - 1);
  });
  $("before").addEventListener("click", () => choosePair(now.pair, now.episode - 1));
  $("after").addEventListener("click", () => choosePair(now.pair, now.episode + 1));
  $("play").addEventListener("click", () => (timer ? stop() : play()));
  $("back").addEventListener("click", () => { stop(); move(now.moment - 1); });
  $("forth").addEventListener("click", () => { stop(); move(now.moment + 1); });
  $("moment").addEventListener("input", (event) => { stop(); move(Number(event.target.value)); });
  addEventListener("resize", () => showReplay());
  listWorlds();
  makeTable();
  fillTable();
  setTheme(night.matches ? "dark" : "light");
  tellEpisode();
})();
