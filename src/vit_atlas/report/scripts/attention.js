"use strict";
// The attention explorer: any photo, method, layer and head; from what the head reads or from any patch.
(function () {
  const common = Atlas.json("attention-common");
  if (!common) return;
  const LEVELS = 63;
  const [rows, columns] = common.grid;
  const [cellRows, cellColumns] = common.cells;
  const patches = rows * columns;
  const cells = cellRows * cellColumns;
  const colours = Atlas.table("heat", true);
  const solid = Atlas.table("heat", false);
  const byId = (name) => document.getElementById(`attention-${name}`);
  const state = { photo: 0, method: "", layer: common.layer, head: -1, special: 0 };
  const loaded = new Map();
  const entries = new Map();
  const squares = Float32Array.from({ length: LEVELS + 1 }, (_, code) => (code / LEVELS) ** 2);
  let data = null;

  function entry(index) {
    if (!entries.has(index)) entries.set(index, Atlas.json(`attention-${index}`));
    return entries.get(index);
  }

  function load(index) {
    if (!loaded.has(index)) loaded.set(index, Atlas.unpack(entry(index)));
    return loaded.get(index);
  }

  // Add the map at place `index` of a packed array, times `weight`, to `into`.
  function add(into, name, index, weight) {
    const size = into.length;
    const peaks = data[`${name}_peaks`].values;
    const codes = data[name].values;
    for (let place = 0; place < size; place++) into[place] += squares[codes[index * size + place]] * peaks[index] * weight;
    return into;
  }

  function fromSpecial(layer, head) {
    const specials = common.special.length;
    const found = new Float32Array(patches);
    if (head >= 0) return add(found, "special", (layer * common.heads + head) * specials + state.special, 1);
    for (let each = 0; each < common.heads; each++)
      add(found, "special", (layer * common.heads + each) * specials + state.special, 1 / common.heads);
    return found;
  }

  function cellOf(patch) {
    const row = Math.floor(Math.floor(patch / columns) / common.cell);
    return row * cellColumns + Math.floor((patch % columns) / common.cell);
  }

  function fromPatch(patch, layer, head) {
    const found = new Float32Array(cells);
    if (head >= 0 && layer === common.layer) return add(found, "heads", head * cells + cellOf(patch), 1);
    return add(found, "patches", layer * cells + cellOf(patch), 1);
  }

  function method() {
    const index = common.methods.findIndex((item) => item.name === state.method);
    const codes = data.methods.values;
    return Float32Array.from({ length: patches }, (_, place) => squares[codes[index * patches + place]]);
  }

  // What is on show: values, their grid, and what they are.
  function view(patch, layer, head) {
    if (state.method) return { values: method(), rows, columns, wide: 1 };
    if (patch === null) return { values: fromSpecial(layer, head), rows, columns, wide: 1 };
    return { values: fromPatch(patch, layer, head), rows: cellRows, columns: cellColumns, wide: common.cell };
  }

  function shares(values) {
    let peak = 0;
    for (const value of values) if (value > peak) peak = value;
    return { peak, scaled: peak > 0 ? values.map((value) => value / peak) : values };
  }

  function describe(patch, shown, peak) {
    const where = patch === null ? "" : `Patch in ${Atlas.place(patch, columns)}`;
    if (state.method) {
      const label = common.methods.find((item) => item.name === state.method).label;
      return where ? `${where}: ${Atlas.percent(shown.values[patch] / (peak || 1))} of the highest value of ${label}.` : `${label}: shares of its highest value.`;
    }
    const kept = state.head < 0 || hasHeads(patch, state.layer);
    const head = state.head < 0 || !kept ? `mean of ${common.heads} heads` : `head ${state.head + 1}`;
    const from = where || common.special[state.special].replace(/^./, (letter) => letter.toUpperCase());
    const best = shown.values.indexOf(peak);
    const target = Atlas.place(best, shown.columns);
    const what = shown.wide > 1 ? "block" : "patch";
    const times = (peak * shown.values.length).toFixed(peak * shown.values.length < 9.95 ? 1 : 0);
    return `${from}, layer ${state.layer + 1}, ${head}: looks most at the ${what} in ${target}, ${Atlas.percent(peak)} of its attention, ${times} times an even share.`;
  }

  function draw() {
    if (!data) return;
    const patch = board.cell;
    const shown = view(patch, state.layer, state.head);
    const { peak, scaled } = shares(shown.values);
    board.paint(shown.rows, shown.columns, scaled, colours, shown.wide);
    byId("reading").textContent = describe(patch, shown, peak);
    const bar = byId("bar");
    bar.querySelector(".high").textContent = state.method ? "1" : Atlas.percent(peak);
    bar.querySelector(".what").textContent = state.method
      ? "share of the map's highest value"
      : `of the ${patch === null ? common.special[state.special] : "patch"}\u2019s attention`;
    drawStrips(state.method ? null : patch);
  }

  // Heads of patches are kept for one layer; elsewhere a patch has the mean of all heads.
  function hasHeads(patch, layer) {
    return patch === null || layer === common.layer;
  }

  // Layers and heads are the attention's own, also while the map of another method is on show. Where the patch has no
  // single heads, theirs are those of the first starting point, and the outline is around the mean, which is what the map shows.
  function drawStrips(patch) {
    const shown = state.method;
    state.method = "";
    const known = hasHeads(patch, state.layer);
    layerStrip.forEach((canvas, layer) => drawSmall(canvas, patch, layer, hasHeads(patch, layer) ? state.head : -1));
    headStrip.forEach((canvas, place) => drawSmall(canvas, known || place === 0 ? patch : null, state.layer, place - 1));
    heads.mark(known ? state.head : -1);
    byId("heads-note").textContent = known
      ? ""
      : `Of ${common.special[0]}. Choosing one shows the patch in layer ${common.layer + 1}, where single heads of patches are kept.`;
    state.method = shown;
  }

  function drawSmall(canvas, patch, layer, head) {
    const shown = view(patch, layer, head);
    Atlas.paint(canvas, shown.rows, shown.columns, shares(shown.values).scaled, solid);
  }

  function strip(name, labels, choose) {
    const root = byId(name);
    const canvases = labels.map(([value, label, title]) => {
      const item = Atlas.make("button", { type: "button", role: "radio", "aria-label": title, "data-value": value, tabindex: -1 });
      const canvas = Atlas.make("canvas", { "aria-hidden": "true" });
      item.append(canvas, Atlas.make("span", {}, label));
      root.append(item);
      return canvas;
    });
    const group = Atlas.radios(root, (item) => Atlas.timed(`attention ${name}`, () => choose(Number(item.dataset.value))));
    return { canvases, mark: (value) => group.mark(root.querySelector(`[data-value="${value}"]`)) };
  }

  function attentionAgain() {
    if (!state.method) return;
    state.method = "";
    byId("method").value = "";
    showMethod();
  }

  function showMethod() {
    const item = common.methods.find((one) => one.name === state.method);
    byId("note").textContent = item
      ? `${item.note} It has no layers, heads or patches to look from.`.trim()
      : "The network's own attention weights, layer by layer and head by head.";
    byId("from").disabled = Boolean(state.method);
    document.getElementById("attention").classList.toggle("whole", Boolean(state.method));
  }

  function showPhoto() {
    const photo = entry(state.photo);
    board.photo(photo.photo, photo.width, photo.height);
    board.root.setAttribute("aria-label", `Attention over the photo ${photo.name}, ${rows} by ${columns} patches`);
    board.grid(rows, columns, photo.width / photo.height);
    board.outline(byId("outline").checked ? photo.outline : "");
    byId("outline").closest("label").hidden = photo.outline === null;
    const guess = byId("guess");
    const right = photo.truth === photo.guess;
    const likely = photo.likely.map(([name, share]) => `${name} ${Atlas.percent(share)}`).join(", ");
    guess.replaceChildren(
      Atlas.make("span", { class: right ? "mark right" : "mark wrong" }, right ? "right" : "wrong"),
      ` ${photo.name}: `,
      Atlas.make("strong", {}, photo.truth),
      right ? ", recognised" : ", taken for ",
      right ? "" : Atlas.make("strong", {}, photo.guess),
      Atlas.make("small", {}, ` ${likely}`),
    );
  }

  function showColours() {
    const { width, height } = entry(state.photo);
    const canvas = byId("colours");
    [canvas.width, canvas.height] = [columns, rows];
    canvas.style.aspectRatio = String(width / height);
    const image = new ImageData(columns, rows);
    data.colours.values.forEach((value, place) => (image.data[Math.floor(place / 3) * 4 + (place % 3)] = value));
    for (let cell = 0; cell < patches; cell++) image.data[cell * 4 + 3] = 255;
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  async function choosePhoto(index) {
    state.photo = index;
    const found = await load(index);
    if (state.photo !== index) return;
    data = found;
    showPhoto();
    showColours();
    draw();
  }

  const board = new Atlas.Board(byId("board"), (cell, how) => {
    if (how === "pin" && cell !== null) attentionAgain();
    draw();
  });
  const layers = strip(
    "layers",
    Array.from({ length: common.layers }, (_, layer) => [layer, String(layer + 1), `Layer ${layer + 1}`]),
    (layer) => {
      attentionAgain();
      state.layer = layer;
      draw();
    },
  );
  const heads = strip(
    "heads",
    [[-1, "mean", "Mean of all heads"], ...Array.from({ length: common.heads }, (_, head) => [head, String(head + 1), `Head ${head + 1}`])],
    (head) => {
      attentionAgain();
      state.head = head;
      if (head >= 0 && !hasHeads(board.cell, state.layer)) {
        state.layer = common.layer;
        layers.mark(state.layer);
      }
      draw();
    },
  );
  const layerStrip = layers.canvases;
  const headStrip = heads.canvases;
  layers.mark(state.layer);
  heads.mark(state.head);

  byId("method").append(Atlas.make("option", { value: "" }, "attention"));
  for (const item of common.methods) byId("method").append(Atlas.make("option", { value: item.name }, item.label));
  byId("method").addEventListener("change", (event) =>
    Atlas.timed("attention method", () => {
      state.method = event.target.value;
      if (state.method) board.pinned = board.hovered = null;
      board.mark();
      showMethod();
      draw();
    }),
  );
  common.special.forEach((name, index) => byId("from").append(Atlas.make("option", { value: index }, name)));
  byId("from").addEventListener("change", (event) =>
    Atlas.timed("attention from", () => {
      state.special = Number(event.target.value);
      byId("from-note").hidden = !common.special[state.special].endsWith("(not read by the head)");
      board.pin(null);
    }),
  );
  byId("from").closest(".field").hidden = common.special.length < 2;
  byId("opacity").addEventListener("input", (event) =>
    Atlas.timed("attention opacity", () => board.opacity(event.target.value / 100)),
  );
  byId("outline").addEventListener("change", showPhoto);
  byId("smooth").addEventListener("change", (event) => {
    board.smooth = event.target.checked;
    draw();
  });
  Atlas.radios(document.querySelector("#attention .photos"), (item) =>
    Atlas.timed("attention photo", () => choosePhoto(Number(item.dataset.photo))),
  );
  Atlas.ramp(byId("bar"), "heat");
  board.opacity(byId("opacity").value / 100);
  showMethod();
  showPhoto();
  Atlas.ready.attention = choosePhoto(0).then(async () => {
    // The other photos are inflated while nobody waits for them.
    for (let index = 1; document.getElementById(`attention-${index}`); index++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      await load(index);
    }
  });
})();
