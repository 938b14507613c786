"use strict";
// The map of all photos: each a point, laid out by the features that the model's head reads. Pan, zoom, keys, hover.
(function () {
  if (!Atlas.gallery) return;
  const { data, source, wrong } = Atlas.gallery;
  const NEAR = 14;
  const RADIUS = 3.2;
  const byId = (name) => document.getElementById(`map-${name}`);
  const canvas = byId("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const view = { scale: 1, x: 0.5, y: 0.5 };
  const count = data.names.length;
  const strong = new Uint8Array(count).fill(1);
  let image = null;
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

  // Colours as they lie in the pixels of an image, without the highest byte, which is the opacity.
  function pixels(colours) {
    const ink = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    return colours.map((colour) => {
      ink.fillStyle = colour;
      ink.fillRect(0, 0, 1, 1);
      const [red, green, blue] = ink.getImageData(0, 0, 1, 1).data;
      return red | (green << 8) | (blue << 16);
    });
  }

  // The group and the colour of every point: asked for again when the colouring or the scheme changes.
  function prepare() {
    const { of, groups } = colouring();
    painted = {
      group: Uint16Array.from({ length: count }, (_, photo) => of(photo)),
      colours: pixels(groups.map(([, colour]) => colour)),
      ink: resolved("--ink"),
    };
    legend(groups);
  }

  function size() {
    const box = canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.max(1, Math.round(box.width * ratio)), Math.max(1, Math.round(box.height * ratio))];
    if (!image || image.width !== width || image.height !== height) {
      [canvas.width, canvas.height] = [width, height];
      image = context.createImageData(width, height);
    }
    return ratio;
  }

  // Pixels of a length of 1 in the layout, whose places run from 0 to 1000.
  const side = () => (Math.min(canvas.width, canvas.height) * 0.94 * view.scale) / 1000;

  // How much of each pixel a disc covers, 0 to 255, and its place from the disc's middle.
  function stamp(radius) {
    const found = [];
    const reach = Math.ceil(radius);
    for (let down = -reach; down <= reach; down++)
      for (let right = -reach; right <= reach; right++) {
        const covered = Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(down, right)));
        if (covered > 0) found.push([down, right, covered]);
      }
    return found;
  }

  // All points, straight into pixels: as paths, 10,000 of them could not be moved at 60 frames a second.
  function drawPoints() {
    const ratio = size();
    if (!painted) prepare();
    const { group, colours } = painted;
    const { x, y } = Atlas.places();
    const { width, height } = image;
    const target = new Uint32Array(image.data.buffer).fill(0);
    const scale = side();
    const [left, top] = [width / 2 - view.x * 1000 * scale, height / 2 - view.y * 1000 * scale];
    const disc = stamp(RADIUS * ratio * Math.min(2, Math.sqrt(view.scale)) * (count > 3000 ? 0.7 : 1));
    const edge = disc[disc.length - 1][0];
    for (const bright of [0, 1]) {
      const opacity = bright ? 230 : 40;
      const offsets = Int32Array.from(disc, ([down, right]) => down * width + right);
      const covered = Uint8Array.from(disc, ([, , share]) => share * opacity);
      for (let photo = 0; photo < count; photo++) {
        if (strong[photo] !== bright) continue;
        const across = Math.round(x[photo] * scale + left);
        const down = Math.round(y[photo] * scale + top);
        if (across < edge || down < edge || across >= width - edge || down >= height - edge) continue;
        const middle = down * width + across;
        const colour = colours[group[photo]];
        for (let part = 0; part < offsets.length; part++) {
          const place = middle + offsets[part];
          // A point hides those below it, but for its soft edge.
          if (covered[part] >= target[place] >>> 24) target[place] = colour | (covered[part] << 24);
        }
      }
    }
    draw();
  }

  function repaint() {
    painted = null;
    later();
  }

  function draw() {
    context.putImageData(image, 0, 0);
    if (hovered === null) return;
    const { x, y } = Atlas.places();
    const ratio = window.devicePixelRatio || 1;
    const [right, down] = [(x[hovered] - view.x * 1000) * side(), (y[hovered] - view.y * 1000) * side()];
    context.strokeStyle = painted.ink;
    context.lineWidth = 2.5 * ratio;
    context.beginPath();
    context.arc(canvas.width / 2 + right, canvas.height / 2 + down, 8 * ratio, 0, 7);
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
    const scale = side() / (canvas.width / box.width);
    const right = (event.clientX - box.left - box.width / 2) / scale + view.x * 1000;
    const down = (event.clientY - box.top - box.height / 2) / scale + view.y * 1000;
    const { x, y } = Atlas.places();
    let best = null;
    let least = (NEAR / scale) ** 2;
    for (let photo = 0; photo < count; photo++) {
      const far = (x[photo] - right) ** 2 + (y[photo] - down) ** 2;
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
    strong.fill(0);
    for (const photo of photos) strong[photo] = 1;
    later();
  };
  drawPoints();
})();
