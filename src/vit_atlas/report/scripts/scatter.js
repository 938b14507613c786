"use strict";
// The map of all photos: each a point, laid out by the features that the model's head reads. Pan, zoom, keys, hover.
(function () {
  if (!Atlas.gallery) return;
  const { data, source, wrong } = Atlas.gallery;
  const NEAR = 14;
  const RADIUS = 3.2;
  const byId = (name) => document.getElementById(`map-${name}`);
  const canvas = byId("canvas");
  const context = canvas.getContext("2d");
  const layer = document.createElement("canvas");
  const view = { scale: 1, x: 0.5, y: 0.5 };
  const count = data.names.length;
  let marked = null;
  let hovered = null;
  let drag = null;
  let waiting = false;
  let painted = null;

  Atlas.places = () => ({ x: data.places[`${byId("layout").value}_x`], y: data.places[`${byId("layout").value}_y`] });

  const hue = (place) => `hsl(${Math.round((place * 137.508) % 360)} 65% ${document.documentElement.dataset.scheme === "dark" ? 66 : 42}%)`;
  const resolved = (name) => {
    const probe = Atlas.make("span", { style: `color: var(${name})` });
    canvas.parentNode.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  };

  // What points are coloured by: a group of each photo, and the groups' names and colours.
  function colouring() {
    const kind = byId("colour").value;
    if (kind === "split") return { of: (photo) => data.split[photo], groups: data.splits.map((name, place) => [name, hue(place * 2 + 1)]) };
    if (kind === "right") return { of: (photo) => (wrong(photo) ? 1 : 0), groups: [["right", resolved("--series-1")], ["wrong", resolved("--series-2")]] };
    if (kind === "inside") {
      const steps = Atlas.table("similarity", false);
      const groups = ["0 to 25 %", "25 to 50 %", "50 to 75 %", "75 to 100 %", "no mask"].map((name, place) =>
        [name, place === 4 ? resolved("--muted") : `rgb(${Array.from(steps.slice((30 + place * 65) * 4, (30 + place * 65) * 4 + 3)).join(" ")})`]);
      return { of: (photo) => (data.inside[photo] === null ? 4 : Math.min(3, Math.floor(data.inside[photo] / 25))), groups };
    }
    const by = kind === "guess" ? data.guess : data.truth;
    return { of: (photo) => by[photo], groups: data.classes.map((name, place) => [name, hue(place)]) };
  }

  function size() {
    const box = canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.max(1, Math.round(box.width * ratio)), Math.max(1, Math.round(box.height * ratio))];
    if (layer.width !== width || layer.height !== height)
      for (const one of [canvas, layer]) [one.width, one.height] = [width, height];
    return ratio;
  }

  function onScreen(photo, places) {
    const side = Math.min(canvas.width, canvas.height) * 0.94 * view.scale;
    return [(places.x[photo] / 1000 - view.x) * side + canvas.width / 2, (places.y[photo] / 1000 - view.y) * side + canvas.height / 2];
  }

  // All points, on a canvas of their own: pointing at one does not draw the others again.
  function drawPoints() {
    const ratio = size();
    const ink = layer.getContext("2d");
    const places = Atlas.places();
    if (!painted) {
      const { of, groups } = colouring();
      const members = groups.map(() => []);
      for (let photo = 0; photo < count; photo++) members[of(photo)].push(photo);
      painted = { groups, members };
      legend(groups);
    }
    const { groups, members } = painted;
    const many = count > 3000;
    const radius = RADIUS * ratio * Math.min(2, Math.sqrt(view.scale)) * (many ? 0.7 : 1);
    ink.clearRect(0, 0, layer.width, layer.height);
    for (const strong of [false, true]) {
      ink.globalAlpha = strong ? 0.9 : 0.16;
      members.forEach((photos, group) => {
        ink.fillStyle = groups[group][1];
        ink.beginPath();
        for (const photo of photos) {
          if ((marked === null || marked.has(photo)) !== strong) continue;
          const [x, y] = onScreen(photo, places);
          if (x < -radius || y < -radius || x > layer.width + radius || y > layer.height + radius) continue;
          // Squares where there are very many: they are drawn several times as fast as circles.
          if (many) {
            ink.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
          } else {
            ink.moveTo(x + radius, y);
            ink.arc(x, y, radius, 0, 7);
          }
        }
        if (!many) ink.fill();
      });
    }
    draw();
  }

  function repaint() {
    painted = null;
    later();
  }

  function draw() {
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(layer, 0, 0);
    if (hovered === null) return;
    const [x, y] = onScreen(hovered, Atlas.places());
    context.strokeStyle = resolved("--ink");
    context.lineWidth = 2.5 * (window.devicePixelRatio || 1);
    context.beginPath();
    context.arc(x, y, 8 * (window.devicePixelRatio || 1), 0, 7);
    context.stroke();
  }

  function later() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      Atlas.timed("map draw", drawPoints);
    });
  }

  function legend(groups) {
    const place = byId("legend");
    const shown = groups.slice(0, 24);
    place.replaceChildren(...shown.map(([name, colour]) => {
      const item = Atlas.make("li", { title: name });
      item.append(Atlas.make("span", { class: "swatch", style: `background: ${colour}` }), name);
      return item;
    }));
    if (groups.length > shown.length) place.append(Atlas.make("li", {}, `and ${groups.length - shown.length} more`));
  }

  function nearest(event) {
    const box = canvas.getBoundingClientRect();
    const ratio = canvas.width / box.width;
    const [x, y] = [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    const places = Atlas.places();
    let best = null;
    let least = (NEAR * ratio) ** 2;
    for (let photo = 0; photo < count; photo++) {
      const [left, top] = onScreen(photo, places);
      const far = (left - x) ** 2 + (top - y) ** 2;
      if (far < least) [best, least] = [photo, far];
    }
    return best;
  }

  function hover(photo) {
    if (photo === hovered || photo === null) return;
    hovered = photo;
    const picture = source(photo);
    const [truth, guess] = [data.classes[data.truth[photo]], data.classes[data.guess[photo]]];
    const answer = truth === guess ? `${truth}, recognised` : `${truth}, taken for ${guess}`;
    const image = byId("photo");
    image.hidden = !picture;
    if (picture) image.src = picture;
    byId("reading").textContent = `${data.names[photo]} (${data.splits[data.split[photo]]}): ${answer}, ${(data.confidence[photo] / 10).toFixed(0)}\u00a0% sure`;
    draw();
  }

  function zoom(factor) {
    view.scale = Math.max(1, Math.min(40, view.scale * factor));
    if (view.scale === 1) view.x = view.y = 0.5;
    later();
  }

  function move(right, down) {
    view.x += right / view.scale;
    view.y += down / view.scale;
    later();
  }

  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) {
      Atlas.timed("map point", () => hover(nearest(event)));
      return;
    }
    const side = Math.min(canvas.clientWidth, canvas.clientHeight) * 0.94;
    if (Math.abs(event.clientX - drag.x) + Math.abs(event.clientY - drag.y) < 4 && !drag.moved) return;
    move((drag.x - event.clientX) / side, (drag.y - event.clientY) / side);
    drag = { x: event.clientX, y: event.clientY, moved: true };
  });
  canvas.addEventListener("pointerup", (event) => {
    const clicked = drag && !drag.moved ? nearest(event) : null;
    drag = null;
    if (clicked === null) return;
    hover(clicked);
    Atlas.showPhotos({ near: clicked });
  });
  canvas.addEventListener("pointercancel", () => (drag = null));
  canvas.addEventListener("wheel", (event) => {
    // With Ctrl alone, as on maps in pages: the page has to scroll too.
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
    const zooms = { "+": 1.4, "=": 1.4, "-": 1 / 1.4, 0: 0 };
    if (!(event.key in moves) && !(event.key in zooms) && event.key !== "Enter") return;
    event.preventDefault();
    if (event.key in moves) move(...moves[event.key]);
    if (event.key in zooms) zoom(zooms[event.key]);
    const middle = canvas.getBoundingClientRect();
    hover(nearest({ clientX: middle.left + middle.width / 2, clientY: middle.top + middle.height / 2 }));
    if (event.key === "Enter" && hovered !== null) Atlas.showPhotos({ near: hovered });
  });
  byId("in").addEventListener("click", () => zoom(1.5));
  byId("out").addEventListener("click", () => zoom(1 / 1.5));
  for (const name of ["layout", "colour"]) byId(name).addEventListener("change", repaint);
  window.addEventListener("resize", later);
  new MutationObserver(repaint).observe(document.documentElement, { attributes: true, attributeFilter: ["data-scheme"] });
  Atlas.markPoints = (photos) => {
    marked = photos.size === count ? null : photos;
    later();
  };
  drawPoints();
})();
