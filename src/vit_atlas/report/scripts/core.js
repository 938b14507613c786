"use strict";
// What the other scripts share: data of the page, small helpers, and the light or dark scheme.
window.Atlas = (function () {
  const timings = {};

  function json(id) {
    const node = document.getElementById(id);
    return node ? JSON.parse(node.textContent) : null;
  }

  // Inflate what vit_atlas.report.payload.blob packed: name -> {shape, values}.
  async function unpack(packed) {
    const text = atob(packed.data);
    const bytes = new Uint8Array(text.length);
    for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const buffer = await new Response(stream).arrayBuffer();
    const found = {};
    for (const part of packed.parts) {
      const count = part.shape.reduce((product, side) => product * side, 1);
      const values = part.kind === "f32"
        ? new Float32Array(buffer, part.offset, count)
        : new Uint8Array(buffer, part.offset, count);
      found[part.name] = { shape: part.shape, values };
    }
    return found;
  }

  // Run an interaction's redraw and note how long it took, in milliseconds.
  function timed(name, work) {
    const start = performance.now();
    const result = work();
    const note = () => (timings[name] = timings[name] || []).push(performance.now() - start);
    if (result instanceof Promise) return result.finally(note);
    note();
    return result;
  }

  function percent(share) {
    const value = share * 100;
    return `${value >= 9.95 ? value.toFixed(0) : value >= 0.095 ? value.toFixed(1) : value.toFixed(2)}\u00a0%`;
  }

  function make(tag, attributes, text) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  // A group of which one is chosen: arrow keys go round, as in a group of radio buttons.
  function radios(group, choose) {
    const items = () => Array.from(group.querySelectorAll('[role="radio"]'));
    function mark(chosen) {
      for (const item of items()) {
        item.setAttribute("aria-checked", String(item === chosen));
        item.tabIndex = item === chosen ? 0 : -1;
      }
    }
    function pick(item, focus) {
      if (!item) return;
      mark(item);
      if (focus) item.focus();
      choose(item);
    }
    group.addEventListener("click", (event) => {
      const item = event.target.closest('[role="radio"]');
      if (item && group.contains(item)) pick(item, false);
    });
    group.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      const all = items();
      const now = all.indexOf(document.activeElement);
      pick(all[(now + steps[event.key] + all.length) % all.length], true);
    });
    return { mark };
  }

  function scheme() {
    const button = document.getElementById("scheme");
    const system = window.matchMedia("(prefers-color-scheme: dark)");
    let chosen = null;
    function show() {
      const dark = chosen === null ? system.matches : chosen === "dark";
      document.documentElement.style.colorScheme = chosen || "";
      document.documentElement.dataset.scheme = dark ? "dark" : "light";
      // The button says what it does, which is the mode that is not on.
      button.textContent = dark ? "Light mode" : "Dark mode";
    }
    button.addEventListener("click", () =>
      timed("scheme", () => {
        chosen = document.documentElement.dataset.scheme === "dark" ? "light" : "dark";
        show();
      }),
    );
    system.addEventListener("change", show);
    show();
  }

  // On paper nothing can be opened, so all is open there, and closed again afterwards.
  function printing() {
    let opened = [];
    window.addEventListener("beforeprint", () => {
      opened = Array.from(document.querySelectorAll("details:not([open])"));
      for (const item of opened) item.open = true;
    });
    window.addEventListener("afterprint", () => {
      for (const item of opened) item.open = false;
    });
  }

  scheme();
  printing();
  return { json, unpack, timed, timings, percent, make, radios, ready: {} };
})();
