"use strict";
// Photos of a class, a confusion, a bin or a neighbourhood: filtered, sorted, with what the model looked at.
(function () {
  const data = Atlas.json("gallery-data");
  if (!data) return;
  const PAGE = 24;
  const LEVELS = 63;
  const byId = (name) => document.getElementById(`photos-${name}`);
  const list = byId("list");
  const colours = Atlas.table("heat", "clear");
  const state = { bin: null, near: null, shown: PAGE };
  const cells = data.grid[0] * data.grid[1];
  let maps = null;
  let found = [];

  const wrong = (photo) => data.truth[photo] !== data.guess[photo];
  const kinds = {
    all: ["all", () => true],
    wrong: ["wrong guesses", wrong],
    right: ["right guesses", (photo) => !wrong(photo)],
    beside: ["look beside the object", (photo) => data.inside[photo] !== null && data.inside[photo] < 50],
    shortcut: ["right from the background alone", (photo) => data.shortcut[photo] === 1],
    suspect: ["label suspected", (photo) => data.suspect[photo] === 1],
  };
  const orders = {
    sure: ["most confident first", (photo) => -data.confidence[photo]],
    unsure: ["least confident first", (photo) => data.confidence[photo]],
    beside: ["least look on the object first", (photo) => (data.inside[photo] === null ? 101 : data.inside[photo])],
  };

  function source(photo) {
    const place = data.thumbnail[photo];
    return place >= 0 && place < data.pictures.length ? `data:image/jpeg;base64,${data.pictures[place]}` : null;
  }

  function bin(photo) {
    return Math.max(0, Math.min(data.bins - 1, Math.ceil((data.confidence[photo] / 1000) * data.bins - 1e-9) - 1));
  }

  // Whether a photo is asked for: the form is read once for all of them.
  function matching() {
    const chosen = ["truth", "guess", "split"].filter((name) => byId(name).value !== "").map((name) => [data[name], Number(byId(name).value)]);
    const kind = kinds[byId("kind").value][1];
    return (photo) => chosen.every(([of, value]) => of[photo] === value) && (state.bin === null || bin(photo) === state.bin) && kind(photo);
  }

  // What photos are sorted by, the lowest first.
  function ranking() {
    if (state.near === null) return orders[byId("sort").value][1];
    const { x, y } = Atlas.places();
    return (photo) => (x[photo] - x[state.near]) ** 2 + (y[photo] - y[state.near]) ** 2;
  }

  function search() {
    found = data.names.map((_, photo) => photo).filter(matching());
    const rank = ranking();
    const ranks = new Float64Array(data.names.length);
    for (const photo of found) ranks[photo] = rank(photo);
    found.sort((one, other) => ranks[one] - ranks[other] || one - other);
    state.shown = PAGE;
    byId("special").hidden = state.bin === null && state.near === null;
    byId("special-text").textContent = [
      state.bin === null ? "" : `confidence from ${Math.round((state.bin / data.bins) * 100)} to ${Math.round(((state.bin + 1) / data.bins) * 100)} %`,
      state.near === null ? "" : `nearest to ${data.names[state.near]} first`,
    ].filter(Boolean).join("; ");
    show();
    if (Atlas.markPoints) Atlas.markPoints(found);
  }

  function show() {
    const some = found.slice(0, state.shown);
    list.replaceChildren(...some.map(card));
    byId("count").textContent = `${found.length} of ${data.names.length} photos`;
    byId("more").hidden = found.length <= state.shown;
    if (byId("maps").checked) for (const item of list.children) toggle(item, true);
  }

  function card(photo) {
    const item = Atlas.make("figure", { class: "shot" });
    const address = source(photo);
    const frame = Atlas.make("button", { type: "button", "aria-pressed": "false", "aria-label": `Where the model looked in ${data.names[photo]}` });
    if (address) {
      frame.append(Atlas.make("img", { src: address, alt: "" }), Atlas.make("canvas", { "aria-hidden": "true", hidden: "" }));
      frame.addEventListener("click", () => toggle(item, frame.getAttribute("aria-pressed") !== "true"));
    } else {
      frame.disabled = true;
      frame.textContent = "no picture on this page";
    }
    const text = Atlas.make("figcaption", {});
    const right = !wrong(photo);
    const answer = Atlas.make("span", { class: "names" });
    const [truth, guess] = [data.classes[data.truth[photo]], data.classes[data.guess[photo]]];
    answer.append(Atlas.make("strong", { title: truth }, truth), right ? "" : " taken for ", right ? "" : Atlas.make("strong", { title: guess }, guess));
    const mark = Atlas.make("span", { class: right ? "mark right" : "mark wrong" }, right ? "right" : "wrong");
    const inside = data.inside[photo] === null ? "" : `; ${data.inside[photo]}\u00a0% of its look on the object`;
    text.append(mark, answer, Atlas.make("small", {}, `${(data.confidence[photo] / 10).toFixed(0)}\u00a0% sure${inside}`), Atlas.make("small", { class: "file", title: data.names[photo] }, data.names[photo]));
    item.append(frame, text);
    item.dataset.photo = photo;
    return item;
  }

  function toggle(item, on) {
    const canvas = item.querySelector("canvas");
    if (!canvas || !maps) return;
    item.querySelector("button").setAttribute("aria-pressed", String(on));
    canvas.hidden = !on;
    if (!on) return;
    const start = data.thumbnail[Number(item.dataset.photo)] * cells;
    const shares = Float32Array.from({ length: cells }, (_, cell) => (maps.maps.values[start + cell] / LEVELS) ** 2);
    Atlas.paint(canvas, data.grid[0], data.grid[1], shares, colours);
  }

  function fill(name, options) {
    for (const [value, label] of options) byId(name).append(Atlas.make("option", { value }, label));
  }

  // What other parts of the page ask for: any of truth, guess (names), bin, near, kind; the rest is as in the beginning.
  Atlas.showPhotos = function (wanted) {
    for (const name of ["truth", "guess"]) {
      const place = wanted[name] === undefined ? -1 : data.classes.indexOf(wanted[name]);
      byId(name).value = place < 0 ? "" : String(place);
    }
    byId("kind").value = wanted.kind || "all";
    byId("split").value = wanted.near === undefined ? "0" : "";
    state.bin = wanted.bin === undefined ? null : Math.ceil(wanted.bin * data.bins - 1e-9) - 1;
    state.near = wanted.near === undefined ? null : wanted.near;
    Atlas.timed("photos search", search);
    if (wanted.near === undefined) byId("form").scrollIntoView();
  };
  Atlas.gallery = { data, source, wrong };

  const classes = data.classes.map((name, index) => [index, name]);
  fill("truth", [["", "any"], ...classes]);
  fill("guess", [["", "any"], ...classes]);
  fill("split", [["", "all"], ...data.splits.map((name, index) => [index, name])]);
  const known = { suspect: data.suspect.includes(1), shortcut: data.shortcut.includes(1), beside: data.inside.some((value) => value !== null) };
  fill("kind", Object.entries(kinds).filter(([name]) => known[name] !== false).map(([name, [label]]) => [name, label]));
  fill("sort", Object.entries(orders).filter(([name]) => known[name] !== false).map(([name, [label]]) => [name, label]));
  byId("split").value = "0";
  byId("sort").value = known.beside ? "beside" : "unsure";
  for (const name of ["truth", "guess", "split", "kind", "sort"])
    byId(name).addEventListener("change", () => {
      if (name === "sort") state.near = null;
      Atlas.timed("photos search", search);
    });
  byId("maps").addEventListener("change", () => Atlas.timed("photos maps", show));
  byId("more").addEventListener("click", () => {
    state.shown += PAGE;
    Atlas.timed("photos more", show);
  });
  byId("special-off").addEventListener("click", () => {
    state.bin = state.near = null;
    search();
  });
  for (const item of document.querySelectorAll("[data-class]"))
    item.addEventListener("click", () => Atlas.showPhotos({ truth: item.dataset.class }));
  Atlas.ready.gallery = Atlas.unpack(data).then((unpacked) => {
    maps = unpacked;
    search();
  });
})();
