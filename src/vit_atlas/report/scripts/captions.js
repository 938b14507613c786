"use strict";
// The caption explorer: point at a word and see where it looked; point at the photo and see which words looked there.
(function () {
  const content = Atlas.json("captions-data");
  if (!content) return;
  const LEVELS = 63;
  const colours = Atlas.table("heat", true);
  const byId = (name) => document.getElementById(`captions-${name}`);
  const state = { photo: 0, word: 0, layer: -1 };
  const loaded = new Map();
  let maps = null;
  let words = [];

  const photo = () => content.photos[state.photo];

  function load(index) {
    const one = content.photos[index];
    if (!loaded.has(index)) loaded.set(index, one.data ? Atlas.unpack(one) : Promise.resolve(null));
    return loaded.get(index);
  }

  // The map of a word: the drawn one, or that of a layer; it sums to 1.
  function values(word) {
    const size = photo().grid[0] * photo().grid[1];
    const name = state.layer < 0 ? "drawn" : "layers";
    const index = state.layer < 0 ? word : word * photo().layers + state.layer;
    const peak = maps[`${name}_peaks`].values[index];
    const codes = maps[name].values;
    return Float32Array.from({ length: size }, (_, cell) => (codes[index * size + cell] / LEVELS) ** 2 * peak);
  }

  function noun(text, index) {
    const known = Object.keys(content.photos[index === undefined ? state.photo : index].outlines);
    const wanted = text.toLowerCase();
    return known.find((name) => name.toLowerCase() === wanted) || null;
  }

  function draw() {
    if (!maps) return;
    const [rows, columns] = photo().grid;
    const shown = values(state.word);
    const peak = shown.reduce((most, value) => Math.max(most, value), 0);
    board.paint(rows, columns, shown.map((value) => (peak ? value / peak : 0)), colours, 1);
    byId("bar").querySelector(".high").textContent = Atlas.percent(peak);
    const word = photo().words[state.word];
    const outlines = photo().outlines;
    const named = noun(word.text);
    const lines = named ? outlines[named] : Object.values(outlines).join("");
    board.outline(byId("outline").checked ? lines : "");
    words.forEach((item, index) => item.setAttribute("aria-pressed", String(index === state.word)));
    if (board.cell === null) {
      shade(null);
      const best = Atlas.place(shown.indexOf(peak), columns);
      byId("reading").textContent = `\u201c${word.text}\u201d, probability ${word.probability.toFixed(2)}: looked most at ${best} of ${rows} by ${columns}, ${Atlas.percent(peak)} of its attention.${onMask(word)}`;
    }
  }

  // How much of a noun's measured map lies on its mask, and whether that is more than chance.
  function onMask(word) {
    const told = word.on_mask;
    if (!told) return "";
    const said = ` As measured, ${Atlas.percent(told.mass)} of it lies on what it names, which covers ${Atlas.percent(told.even)} of the photo`;
    return said + (told.at_chance ? ": no better than chance, for the same map moved elsewhere does as well in more than one place of twenty." : ".");
  }

  // Shade every word by how much it looked at a place, beside the word that looked there most.
  function shade(cell) {
    if (cell === null || !maps) {
      words.forEach((item) => item.style.removeProperty("--looked"));
      return;
    }
    const [rows, columns] = photo().grid;
    const looked = words.map((_, index) => values(index)[cell]);
    // Where nobody looked more than evenly, nothing stands out.
    const most = Math.max(...looked, 2 / (rows * columns));
    words.forEach((item, index) => item.style.setProperty("--looked", `${Math.round((looked[index] / most) * 100)}%`));
    const order = looked.map((value, index) => [value, index]).sort((one, other) => other[0] - one[0]);
    const told = order.slice(0, 3).map(([value, index]) => `\u201c${photo().words[index].text}\u201d ${(value * rows * columns).toFixed(1)}`);
    byId("reading").textContent = `Place in ${Atlas.place(cell, columns)}: looked at most by ${told.join(", ")} times an even share.`;
  }

  function chooseWord(index) {
    if (index === state.word) return;
    state.word = index;
    Atlas.timed("captions word", draw);
  }

  function showWords() {
    const place = byId("words");
    place.replaceChildren();
    words = photo().words.map((word, index) => {
      const item = Atlas.make("button", { type: "button", class: "word", "aria-pressed": "false" }, word.text);
      item.title = `probability ${word.probability.toFixed(2)}`;
      if (word.on_mask && word.on_mask.at_chance) {
        item.classList.add("chance");
        item.title += "; its map is no better than chance";
        item.append(Atlas.make("small", {}, " \u2248 chance"));
      }
      for (const event of ["pointerenter", "focus", "click"]) item.addEventListener(event, () => chooseWord(index));
      place.append(item, " ");
      return item;
    });
    if (!photo().ended) place.append(Atlas.make("small", {}, "cut: the caption had not ended at captions.max_length"));
    if (!words.length) place.append(Atlas.make("small", {}, "an empty caption"));
    const references = photo().references;
    byId("note").textContent = references.length
      ? `${photo().name}; in the data: ${references.map((text) => `\u201c${text}\u201d`).join(", ")}`
      : `${photo().name}; nobody captioned it.`;
  }

  function showLayers() {
    const select = byId("layer");
    select.replaceChildren(Atlas.make("option", { value: -1 }, `as measured: ${content.view}`));
    for (let layer = 0; layer < photo().layers; layer++)
      select.append(Atlas.make("option", { value: layer }, `layer ${layer + 1}, mean over heads`));
  }

  // The word to begin with: a noun that people named too, or else the word that looked at one place most.
  function telling(one) {
    const named = one.words.findIndex((word) => noun(word.text));
    if (named >= 0) return named;
    const peaks = Array.from(maps.drawn_peaks.values);
    return peaks.indexOf(Math.max(...peaks));
  }

  async function choosePhoto(index) {
    state.photo = index;
    const found = await load(index);
    if (state.photo !== index) return;
    const one = photo();
    maps = found;
    state.layer = -1;
    state.word = maps ? telling(one) : 0;
    board.photo(one.photo, one.width, one.height);
    board.root.setAttribute("aria-label", `Where the captioner looked in ${one.name}`);
    board.pinned = board.hovered = null;
    board.grid(one.grid[0], one.grid[1], one.width / one.height);
    byId("outline").closest("label").hidden = !Object.keys(one.outlines).length;
    showWords();
    showLayers();
    if (maps) draw();
    else board.canvas.getContext("2d").clearRect(0, 0, board.canvas.width, board.canvas.height);
  }

  const board = new Atlas.Board(byId("board"), (cell) => (cell === null ? draw() : shade(cell)));
  byId("layer").addEventListener("change", (event) =>
    Atlas.timed("captions layer", () => {
      state.layer = Number(event.target.value);
      draw();
    }),
  );
  byId("opacity").addEventListener("input", (event) =>
    Atlas.timed("captions opacity", () => board.opacity(event.target.value / 100)),
  );
  byId("outline").addEventListener("change", draw);
  const photos = document.querySelector("#captions .photos");
  const group = Atlas.radios(photos, (item) =>
    Atlas.timed("captions photo", () => choosePhoto(Number(item.dataset.photo))),
  );
  Atlas.ramp(byId("bar"), "heat");
  board.opacity(byId("opacity").value / 100);
  // Begin with a photo of which the caption names something that people named too.
  const first = Math.max(0, content.photos.findIndex((one, index) => one.words.some((word) => noun(word.text, index))));
  group.mark(photos.querySelector(`[data-photo="${first}"]`));
  Atlas.ready.captions = choosePhoto(first);
})();
