/* What the playgrounds share: controls, the words beside the picture, time and chance.

   Classic scripts with one global, `rlcourse`: a page opened from the disk may not load modules, and a
   lecture hall may have no network. Each playground hands a function to `rlcourse.playground(name, mount)`;
   every element with `data-playground="name"` becomes one, with the presets of its `data-options`. */
"use strict";

(() => {
  const rlcourse = (globalThis.rlcourse ??= {});
  const page = document.documentElement;

  /* A stand-alone page follows the system's theme until a button says otherwise; the book's pages
     bring their own. */
  const dark = matchMedia("(prefers-color-scheme: dark)");
  if (!page.dataset.theme) {
    const follow = () => (page.dataset.theme = dark.matches ? "dark" : "light");
    follow();
    dark.addEventListener("change", follow);
  }

  /* --- elements --------------------------------------------------------------------------------- */

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value != null) node.setAttribute(name, value);
    }
    node.append(...children.flat().filter((child) => child != null));
    return node;
  }
  const h = (tag, attributes = {}, ...children) =>
    fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  let serial = 0;
  const unique = (name) => `pg-${name}-${++serial}`;

  const button = (label, onclick, kind = "") =>
    h("button", { type: "button", class: `pg-button ${kind}`, onclick }, label);

  /* A labelled range. `set` moves it from outside without calling `oninput`. */
  function slider(label, { min, max, step, value, show = String, oninput }) {
    const id = unique("slider");
    // The value is in aria-valuetext already: said once.
    const output = h("output", { for: id, "aria-hidden": "true" });
    const input = h("input", { type: "range", id, min, max, step });
    const tell = () => {
      const text = show(Number(input.value));
      output.textContent = text;
      input.setAttribute("aria-valuetext", text);
      const share = (input.value - input.min) / (input.max - input.min || 1);
      input.style.setProperty("--share", `${100 * share}%`);
    };
    const set = (number) => {
      input.value = number;
      tell();
    };
    set(value);
    input.addEventListener("input", () => {
      tell();
      oninput(Number(input.value));
    });
    const node = h("div", { class: "pg-slider" }, h("label", { for: id }, label), output, input);
    const range = (from, to, by = input.step) => {
      Object.assign(input, { min: from, max: to, step: by });
      tell();
    };
    return { node, set, range, input };
  }

  /* Radio buttons that look like one strip. Options: [[value, label], ...]. */
  function choice(legend, options, value, onchange, kind = "") {
    const name = unique("choice");
    const inputs = {};
    const strip = options.map(([key, text]) => {
      const input = h("input", { type: "radio", name, value: key, autocomplete: "off" });
      input.checked = key === value;
      input.addEventListener("change", () => onchange(key));
      inputs[key] = input;
      return h("label", { class: `pg-option pg-option-${key}` }, input, h("span", {}, text));
    });
    const node = h(
      "fieldset",
      { class: `pg-choice ${kind}` },
      h("legend", {}, legend),
      h("div", { class: "pg-strip" }, strip),
    );
    return { node, set: (key) => (inputs[key].checked = true), inputs };
  }

  function select(label, options, value, onchange) {
    const id = unique("select");
    const input = h(
      "select",
      { id, onchange: () => onchange(input.value) },
      options.map(([key, text]) => h("option", { value: key }, text)),
    );
    input.value = value;
    return { node: h("div", { class: "pg-select" }, h("label", { for: id }, label), input), input };
  }

  const table = (heads, body) => {
    const head = h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)));
    return h("table", {}, h("thead", {}, head), body);
  };

  /* A small square in one of the six colours, for a legend. */
  const swatch = (series, kind = "") =>
    svg("svg", { class: "pg-key", viewBox: "0 0 10 10", "aria-hidden": "true" },
      svg("rect", { width: 10, height: 10, rx: 2, class: `pg-bar-${series} ${kind}` }));

  /* --- words, time, colours --------------------------------------------------------------------- */

  /* The text state: polite, and at most one new sentence a second. */
  function teller() {
    const node = h("p", { class: "pg-state", "aria-live": "polite" });
    let last = -1e9, timer = 0, next = "";
    const put = () => {
      timer = 0;
      last = performance.now();
      if (node.textContent !== next) node.textContent = next;
    };
    const tell = (text) => {
      next = text;
      const wait = last + 1000 - performance.now();
      if (wait <= 0) put();
      else timer ||= setTimeout(put, wait);
    };
    return { node, tell };
  }

  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const calm = () => still.matches;

  /* Calls `frame(seconds)` once a drawn frame while it is on and on the screen. Who asked for less motion
     gets four pictures a second, unless the motion is the reader's own (`calmly` says no). */
  function ticker(node, frame, calmly = () => true) {
    let on = false, seen = true, last = 0, request = 0;
    const turn = (now) => {
      request = on && seen ? requestAnimationFrame(turn) : 0;
      const seconds = (now - last) / 1000;
      if (calm() && calmly() && seconds < 0.25) return;
      last = now;
      if (request) frame(Math.min(seconds, 0.3));
    };
    const wake = () => {
      if (!on || !seen || request) return;
      last = performance.now();
      request = requestAnimationFrame(turn);
    };
    new IntersectionObserver(([entry]) => {
      seen = entry.isIntersecting;
      wake();
    }).observe(node);
    return {
      get on() {
        return on;
      },
      set on(value) {
        on = value;
        wake();
      },
    };
  }

  /* The palette as the page has it now, for a canvas; `again` is called when the theme changes. */
  function palette(node, again) {
    const colours = {};
    const read = () => {
      const style = getComputedStyle(node);
      for (const name of ["paper", "surface", "ink", "quiet", "line", "accent"])
        colours[name] = style.getPropertyValue(`--rl-${name}`).trim();
      colours.series = [0, 1, 2, 3, 4, 5].map((i) => style.getPropertyValue(`--pg-${i}`).trim());
      again();
    };
    new MutationObserver(read).observe(page, { attributeFilter: ["data-theme"] });
    queueMicrotask(read);
    return colours;
  }

  /* A number for people: a true minus, and no minus before a zero. */
  const number = (value, digits = 2) => {
    const text = value.toFixed(digits);
    return Number(text) === 0 ? (0).toFixed(digits) : text.replace("-", "\u2212");
  };
  const count = (value) => value.toLocaleString("en");

  /* --- chance ----------------------------------------------------------------------------------- */

  /* xoshiro128** (Blackman & Vigna 2018), its four words from a splitmix with 32 bits: equal seeds, equal
     runs, on every machine. A double takes two draws: the upper 27 bits of one, the upper 26 of the next. */
  function generator(seed) {
    let z = seed >>> 0;
    const split = () => {
      z = (z + 0x9e3779b9) >>> 0;
      let t = z ^ (z >>> 16);
      t = Math.imul(t, 0x21f0aaad);
      t ^= t >>> 15;
      t = Math.imul(t, 0x735a2d97);
      return (t ^ (t >>> 15)) >>> 0;
    };
    const s = new Uint32Array([split(), split(), split(), split()]);
    const rotate = (x, k) => (x << k) | (x >>> (32 - k));
    const bits = () => {
      const result = Math.imul(rotate(Math.imul(s[1], 5), 7), 9) >>> 0;
      const t = s[1] << 9;
      s[2] ^= s[0];
      s[3] ^= s[1];
      s[1] ^= s[2];
      s[0] ^= s[3];
      s[2] ^= t;
      s[3] = rotate(s[3], 11);
      return result;
    };
    const random = () => ((bits() >>> 5) * 67108864 + (bits() >>> 6)) / 9007199254740992;
    const integer = (n) => Math.floor(random() * n);
    const uniform = (low, high) => low + (high - low) * random();
    // Box & Muller's cosine half; 1 - u is never zero.
    const normal = () =>
      Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    return { bits, random, integer, uniform, normal };
  }

  /* The largest entry's index, drawn among equals. */
  function argmaxRandomTies(row, rng) {
    const best = Math.max(...row);
    const ties = [];
    row.forEach((value, i) => value === best && ties.push(i));
    return ties.length === 1 ? ties[0] : ties[rng.integer(ties.length)];
  }

  /* --- mounting --------------------------------------------------------------------------------- */

  const mounts = {};
  const here = document.currentScript.src.replace(/common\.js.*$/, "");

  function playground(name, mount) {
    mounts[name] = mount;
  }

  function mountAll() {
    for (const node of document.querySelectorAll("[data-playground]")) {
      const name = node.dataset.playground;
      if (!mounts[name]) continue;
      const options = JSON.parse(node.dataset.options || "{}");
      node.replaceChildren();
      node.classList.add("pg", `pg-${name}`);
      const instance = mounts[name](node, options);
      node.playground = instance; // for tests, and for the curious at the console
      if (!node.closest(".pg-alone"))
        node.append(
          h("p", { class: "pg-link" }, h("a", { href: `${here}${name}.html` }, "On a page of its own")),
        );
      delete node.dataset.playground;
    }
    const themes = document.querySelector("[data-theme-button]");
    if (themes) {
      const other = () => (page.dataset.theme === "dark" ? "light" : "dark");
      const change = button("", () => (page.dataset.theme = other()));
      const name = () => (change.textContent = `Switch to ${other()}`);
      new MutationObserver(name).observe(page, { attributeFilter: ["data-theme"] });
      name();
      themes.replaceChildren(change);
    }
  }
  document.addEventListener("DOMContentLoaded", mountAll);

  Object.assign(rlcourse, {
    ...{ h, svg, button, slider, choice, select, table, swatch, teller, ticker, palette, number, count },
    ...{ generator, argmaxRandomTies, playground },
  });
})();
