"use strict";
// Two maps of a photo, one over the other: left of a line the old result's, right of it the new one's.
(function () {
  const data = Atlas.json("pairs-data");
  if (!data) return;
  const colours = Atlas.table("heat", true);
  const all = Array.from(document.querySelectorAll(".pair"));
  let maps = null;

  function slide(pair, share) {
    pair.querySelector("input").value = String(share);
    pair.querySelector(".wipe").style.setProperty("--at", `${share}%`);
  }

  function paint(pair, method) {
    for (const side of ["old", "new"]) {
      const { shape, values } = maps[`${pair.dataset.pair}.${method}.${side}`];
      const shares = Float32Array.from(values, (code) => (code / data.levels) ** 2);
      Atlas.paint(pair.querySelector(`canvas.${side}`), shape[0], shape[1], shares, colours);
    }
    pair.querySelectorAll(".moved").forEach((text, place) => (text.hidden = place !== method));
  }

  function pointed(pair, event) {
    const box = pair.querySelector(".wipe").getBoundingClientRect();
    const share = Math.round(((event.clientX - box.left) / box.width) * 100);
    Atlas.timed("pairs slide", () => slide(pair, Math.max(0, Math.min(100, share))));
  }

  for (const pair of all) {
    const board = pair.querySelector(".wipe");
    board.addEventListener("pointerdown", (event) => {
      board.setPointerCapture(event.pointerId);
      pointed(pair, event);
    });
    board.addEventListener("pointermove", (event) => {
      if (board.hasPointerCapture(event.pointerId)) pointed(pair, event);
    });
    pair.querySelector("input").addEventListener("input", (event) =>
      Atlas.timed("pairs slide", () => slide(pair, Number(event.target.value))),
    );
  }

  const control = (name, event, work) => {
    const node = document.getElementById(`pairs-${name}`);
    if (node) node.addEventListener(event, () => Atlas.timed(`pairs ${name}`, () => work(node.value)));
  };
  control("all", "input", (value) => all.forEach((pair) => slide(pair, Number(value))));
  control("kind", "change", (kind) => {
    for (const pair of document.querySelectorAll("#photos .pair")) pair.hidden = kind !== "" && pair.dataset.change !== kind;
  });
  control("method", "change", (method) => {
    for (const pair of document.querySelectorAll("#maps .pair")) paint(pair, Number(method));
  });
  Atlas.ready.pairs = Atlas.unpack(data.maps).then((unpacked) => {
    maps = unpacked;
    for (const pair of all) paint(pair, 0);
  });
})();
