/* The clip: PPO's surrogate for one sample, and the gradient that is left of it.

   The numbers are those of `rlcourse.algorithms.ppo.clipped_loss` (its objective is minus the loss) and of the
   gradient that automatic differentiation finds. */
"use strict";

(() => {
  const { h, svg, button, slider, teller, number } = rlcourse;

  /* min(r A, clip(r, 1 - eps, 1 + eps) A), its two terms, and its slopes in r and in log pi. */
  function surrogate(ratio, advantage, clip) {
    const plain = ratio * advantage;
    const clipped = Math.min(Math.max(ratio, 1 - clip), 1 + clip) * advantage;
    const stopped =
      (advantage > 0 && ratio > 1 + clip) || (advantage < 0 && ratio < 1 - clip);
    return {
      plain, clipped, stopped,
      objective: Math.min(plain, clipped),
      slope: stopped ? 0 : advantage, // in the ratio
      pull: stopped ? 0 : plain, // in log pi: d ratio / d log pi is the ratio itself
    };
  }

  const MOST = 2, STEEP = 1.5; // the largest ratio and advantage
  const HIGH = MOST * STEEP; // the largest objective
  const END = 1.85; // where the line has its handle
  const HEIGHT = 470, LEFT = 34, RIGHT = 10; // CSS pixels, as is the width
  const TOP = { y: 12, height: 270 };
  const BOTTOM = { y: 318, height: 110 };
  const yIn = (panel) => (value) => panel.y + panel.height / 2 - (value / HIGH) * (panel.height / 2);

  function mount(root, options) {
    const now = { ratio: 1.35, advantage: 1, clip: 0.2 };
    for (const name of Object.keys(now)) if (name in options) now[name] = Number(options[name]);
    const state = teller();
    let width = 640;
    const x = (ratio) => LEFT + (ratio / MOST) * (width - LEFT - RIGHT);

    /* --- the picture: an objective above, a gradient below, one axis */
    const part = (tag, kind, more = {}) => svg(tag, { class: `pg-${kind}`, ...more });
    const band = part("rect", "band", { y: TOP.y, height: BOTTOM.y + BOTTOM.height - TOP.y });
    const plain = part("path", "plain"), clipped = part("path", "clipped"), least = part("path", "least");
    const pulls = part("path", "pulls"), ghost = part("path", "ghost");
    const guide = part("path", "guide"), tangent = part("path", "tangent");
    const dot = part("circle", "dot", { r: 9 }), pullDot = part("circle", "dot", { r: 6 });
    const edges = [part("path", "edge"), part("path", "edge")];
    const turn = part("circle", "turn", { r: 8 }), reach = part("circle", "reach", { r: 26 });
    const labels = svg("g", {}), axes = svg("g", {});
    const picture = svg("svg", { class: "pg-plot", role: "img", "aria-label": "" },
      band, axes, plain, clipped, ghost, guide, edges, least, pulls, tangent, labels,
      turn, pullDot, dot, reach);

    /* As wide as there is room, letters always of one size. */
    function fit() {
      width = Math.max(260, Math.min(640, picture.clientWidth || 640));
      picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      axes.replaceChildren(axis(TOP, "objective"), axis(BOTTOM, "slope in log π"));
      draw();
    }

    function axis(panel, title) {
      const y = yIn(panel);
      const ticks = panel === TOP ? [-2, -1, 0, 1, 2] : [-2, 0, 2];
      const right = width - RIGHT, foot = panel.y + panel.height;
      return svg("g", { class: "pg-axis" },
        svg("path", { d: `M${LEFT} ${y(0)}H${right}M${LEFT} ${panel.y}v${panel.height}` }),
        ticks.map((value) =>
          svg("text", { x: LEFT - 8, y: y(value) + 5, "text-anchor": "end" }, number(value, 0))),
        svg("text", { x: LEFT + 8, y: panel.y + 11, class: "pg-title" }, title),
        panel === BOTTOM ? [0, 0.5, 1, 1.5, 2].map((value) => {
          const anchor = value === MOST ? "end" : "middle";
          return svg("text", { x: x(value), y: foot + 18, "text-anchor": anchor }, String(value));
        }) : [],
        panel === BOTTOM ? svg("text", { x: right, y: foot + 36, "text-anchor": "end", class: "pg-title" },
          "ratio ρ, new probability by old") : null);
    }

    /* A curve as straight pieces between its kinks. */
    function line(panel, f, from = 0, to = MOST) {
      const y = yIn(panel);
      const bends = [from, 1 - now.clip, 1 + now.clip, to].filter((r) => r >= from && r <= to);
      return "M" + bends.map((r) => `${x(r).toFixed(2)} ${y(f(r)).toFixed(2)}`).join("L");
    }

    function draw() {
      const { ratio, advantage, clip } = now;
      const at = surrogate(ratio, advantage, clip);
      const top = yIn(TOP), bottom = yIn(BOTTOM);
      const put = (node, attributes) =>
        Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
      put(band, { x: x(1 - clip), width: x(1 + clip) - x(1 - clip) });
      put(plain, { d: line(TOP, (r) => r * advantage) });
      put(clipped, { d: line(TOP, (r) => surrogate(r, advantage, clip).clipped) });
      put(least, { d: line(TOP, (r) => surrogate(r, advantage, clip).objective) });
      // The gradient jumps to zero where the clip stops it.
      const alive = advantage > 0 ? [0, 1 + clip] : [1 - clip, MOST];
      const dead = advantage > 0 ? [1 + clip, MOST] : [0, 1 - clip];
      const pull = (r) => r * advantage;
      put(pulls, {
        d: advantage === 0 ? line(BOTTOM, () => 0)
          : line(BOTTOM, pull, ...alive) + line(BOTTOM, () => 0, ...dead),
      });
      put(ghost, { d: advantage === 0 ? "" : line(BOTTOM, pull, ...dead) });
      const through = (r) => `M${x(r)} ${TOP.y}V${BOTTOM.y + BOTTOM.height}`;
      put(guide, { d: through(ratio) });
      // The slope at the point.
      const half = 0.2;
      const along = (by) => `${x(ratio + by)} ${top(at.objective + by * at.slope)}`;
      put(tangent, { d: `M${along(-half)}L${along(half)}` });
      put(dot, { cx: x(ratio), cy: top(at.objective) });
      put(pullDot, { cx: x(ratio), cy: bottom(at.pull) });
      for (const node of [turn, reach]) put(node, { cx: x(END), cy: top(END * advantage) });
      put(edges[0], { d: through(1 - clip) });
      put(edges[1], { d: through(1 + clip) });
      for (const node of [least, pulls, dot, pullDot, tangent]) node.classList.toggle("pg-stopped", at.stopped);
      const spot = (text, r, value, anchor, right, down, kind = "title") => svg("text", {
        x: x(r) + right, y: top(value) + down, "text-anchor": anchor, class: `pg-${kind}` }, text);
      const good = advantage >= 0;
      labels.replaceChildren(
        spot("1 − ε", 1 - clip, -HIGH, "end", -6, -6), spot("1 + ε", 1 + clip, -HIGH, "start", 6, -6),
        // Each line is named where it is alone.
        spot("ρ Â", END, END * advantage, "end", -14, good ? -8 : 20, "name-plain"),
        good ? spot("clip(ρ) Â", 0, (1 - clip) * advantage, "start", 8, -9, "name-clipped")
          : spot("clip(ρ) Â", MOST, (1 + clip) * advantage, "end", -4, -9, "name-clipped"),
        good ? spot("the smaller", MOST, (1 + clip) * advantage, "end", -4, 22, "name-least")
          : spot("the smaller", 0, (1 - clip) * advantage, "start", 8, 22, "name-least"),
      );
      const words = sentence(at);
      picture.setAttribute("aria-label", `Objective and gradient against the ratio. ${words}`);
      state.tell(words);
      for (const [name, cell] of Object.entries(cells)) cell.textContent = number(at[name], 3);
      for (const [name, each] of Object.entries(sliders))
        if (Number(each.input.value) !== now[name]) each.set(now[name]);
      root.playground = { ...now, ...at };
    }

    function sentence(at) {
      const { ratio, advantage } = now;
      const moved = Math.round(Math.abs(ratio - 1) * 100);
      const way = moved === 0 ? "exactly as likely as before"
        : `${moved} % ${ratio > 1 ? "more" : "less"} likely than before`;
      if (advantage === 0)
        return `The action was neither good nor bad, and is ${way}. Nothing to gain, and no gradient.`;
      const start = `The action was ${advantage > 0 ? "good" : "bad"}, and is ${way}.`;
      if (at.stopped) return `${start} That gain is booked: the gradient is zero.`;
      const outside = Math.abs(ratio - 1) > now.clip;
      const why = outside ? "It moved the wrong way, so the clip does not hold it" : "It is within the clip";
      return `${start} ${why}: the gradient pulls with ${number(at.pull, 2)}.`;
    }

    /* --- hands: the point by its ratio, the line by its end, the band by its edge */
    let held = null;
    const there = (event) => {
      const box = picture.getBoundingClientRect();
      const px = ((event.clientX - box.left) / box.width) * width;
      const py = ((event.clientY - box.top) / box.height) * HEIGHT;
      const value = ((TOP.y + TOP.height / 2 - py) / (TOP.height / 2)) * HIGH;
      return { ratio: ((px - LEFT) / (width - LEFT - RIGHT)) * MOST, value, px, py };
    };
    const snap = (value, step, low, high) => Math.min(high, Math.max(low, Math.round(value / step) * step));
    const move = (event) => {
      const p = there(event);
      if (held === "ratio") now.ratio = +snap(p.ratio, 0.01, 0, MOST).toFixed(2);
      if (held === "clip") now.clip = +snap(Math.abs(p.ratio - 1), 0.01, 0, 0.8).toFixed(2);
      if (held === "advantage") now.advantage = +snap(p.value / END, 0.05, -STEEP, STEEP).toFixed(2);
      draw();
    };
    picture.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      const p = there(event);
      const near = (node, by) =>
        Math.hypot(p.px - node.getAttribute("cx"), p.py - node.getAttribute("cy")) < by;
      const edge = [1 - now.clip, 1 + now.clip].some((r) => Math.abs(p.px - x(r)) < 12);
      held = near(dot, 34) ? "ratio" : near(turn, 34) ? "advantage" : edge ? "clip" : "ratio";
      picture.setPointerCapture(event.pointerId);
      event.preventDefault();
      move(event);
    });
    picture.addEventListener("pointermove", (event) => held && move(event));
    for (const end of ["pointerup", "pointercancel"]) picture.addEventListener(end, () => (held = null));

    const tune = (label, name, min, max, step, show = (v) => number(v, 2)) =>
      slider(label, {
        ...{ min, max, step, value: now[name], show },
        oninput: (value) => {
          now[name] = value;
          draw();
        },
      });
    const signed = (value) => (value > 0 ? `+${number(value)}` : number(value));
    const sliders = {
      ratio: tune("Ratio ρ", "ratio", 0, MOST, 0.01),
      advantage: tune("Advantage Â", "advantage", -STEEP, STEEP, 0.05, signed),
      clip: tune("Clip ε", "clip", 0, 0.8, 0.01),
    };
    const cells = {};
    const value = (name, label) => h("div", {}, h("dt", {}, label), (cells[name] = h("dd", {})));
    const facts = h("dl", { class: "pg-facts" },
      value("plain", "ρ Â"), value("clipped", "clip(ρ) Â"), value("objective", "the smaller"),
      value("slope", "slope in ρ"), value("pull", "slope in log π"));
    const situation = (label, ratio, advantage) =>
      button(label, () => {
        Object.assign(now, { ratio, advantage });
        draw();
      });

    root.append(
      h("div", { class: "pg-stage" }, picture, state.node),
      h("div", { class: "pg-controls" },
        h("div", { class: "pg-sliders" }, Object.values(sliders).map((s) => s.node)),
        facts,
        h("div", { class: "pg-four", role: "group", "aria-label": "Four cases" },
          situation("Good, more likely", 1.5, 1), situation("Good, less likely", 0.5, 1),
          situation("Bad, more likely", 1.5, -1), situation("Bad, less likely", 0.5, -1))),
    );
    new ResizeObserver(fit).observe(picture);
    fit();
    return root.playground;
  }

  rlcourse.clip = { surrogate };
  rlcourse.playground("clip", mount);
})();
