"use strict";
// A grid of patches that a reader points at, with a map painted over it.
(function () {
  const palettes = Atlas.json("palettes");

  // Colours of 256 steps as RGBA; with `fade`, the lower a value the more of the photo shows through: `clear` is all.
  function table(name, fade) {
    const colours = palettes[name];
    const found = new Uint8ClampedArray(256 * 4);
    for (let step = 0; step < 256; step++) {
      for (let channel = 0; channel < 3; channel++) found[step * 4 + channel] = colours[step * 3 + channel];
      const low = fade === "clear" ? 0.15 : 0.55;
      found[step * 4 + 3] = fade ? 255 * (low + (0.85 - low) * Math.sqrt(step / 255)) : 255;
    }
    return found;
  }

  // Paint shares (0 to 1) on a canvas of one pixel a cell.
  function paint(canvas, rows, columns, shares, colours) {
    if (canvas.width !== columns || canvas.height !== rows) {
      canvas.width = columns;
      canvas.height = rows;
    }
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    for (let cell = 0; cell < rows * columns; cell++) {
      const step = Math.max(0, Math.min(255, Math.round(shares[cell] * 255))) * 4;
      for (let channel = 0; channel < 4; channel++) image.data[cell * 4 + channel] = colours[step + channel];
    }
    context.putImageData(image, 0, 0);
  }

  function ramp(bar, name) {
    const colours = palettes[name];
    const stops = [];
    for (let step = 0; step < 256; step += 15) stops.push(`rgb(${colours.slice(step * 3, step * 3 + 3).join(" ")})`);
    bar.querySelector(".ramp").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  }

  class Board {
    // `point(cell, how)` is called with the index of a patch, or null when nothing is pointed at.
    constructor(root, point) {
      this.root = root;
      this.canvas = root.querySelector("canvas");
      this.cursor = root.querySelector(".cursor");
      this.small = document.createElement("canvas");
      this.point = point;
      this.hovered = null;
      this.pinned = null;
      this.smooth = true;
      root.addEventListener("pointermove", (event) => this.hover(this.cellAt(event)));
      root.addEventListener("pointerleave", () => this.hover(null));
      root.addEventListener("click", (event) => {
        const cell = this.cellAt(event);
        this.pin(cell === this.pinned ? null : cell);
      });
      root.addEventListener("keydown", (event) => this.key(event));
    }

    // Lay a grid of patches over the photo; `ratio` is its width over its height.
    grid(rows, columns, ratio) {
      const kept = this.rows === rows && this.columns === columns;
      this.rows = rows;
      this.columns = columns;
      this.root.style.aspectRatio = String(ratio);
      // Tall photos must not push what belongs to them off the screen.
      this.root.style.maxWidth = `min(100%, ${Math.round(ratio * 30)}rem)`;
      this.canvas.width = Math.round(Math.min(640, 640 * ratio));
      this.canvas.height = Math.round(this.canvas.width / ratio);
      if (!kept) this.hovered = this.pinned = null;
      this.mark();
    }

    get cell() {
      return this.hovered === null ? this.pinned : this.hovered;
    }

    cellAt(event) {
      const box = this.canvas.getBoundingClientRect();
      const column = Math.floor(((event.clientX - box.left) / box.width) * this.columns);
      const row = Math.floor(((event.clientY - box.top) / box.height) * this.rows);
      if (row < 0 || column < 0 || row >= this.rows || column >= this.columns) return null;
      return row * this.columns + column;
    }

    hover(cell) {
      if (cell === this.hovered) return;
      this.hovered = cell;
      this.changed("point");
    }

    pin(cell) {
      this.pinned = cell;
      this.hovered = null;
      this.changed("pin");
    }

    changed(how) {
      this.mark();
      Atlas.timed(`${this.root.id} ${how}`, () => this.point(this.cell, how));
    }

    key(event) {
      const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      if (event.key === "Escape") {
        this.pin(null);
      } else if (event.key in moves) {
        event.preventDefault();
        const [down, right] = moves[event.key];
        const middle = Math.floor(this.rows / 2) * this.columns + Math.floor(this.columns / 2);
        if (this.cell === null) {
          this.pin(middle);
          return;
        }
        const row = Math.floor(this.cell / this.columns) + down;
        const column = (this.cell % this.columns) + right;
        const inside = row >= 0 && row < this.rows && column >= 0 && column < this.columns;
        if (inside) this.pin(row * this.columns + column);
      } else if (event.key === "Enter") {
        this.pin(this.cell);
      }
    }

    mark() {
      const cell = this.cell;
      this.cursor.hidden = cell === null;
      if (cell === null) return;
      const style = this.cursor.style;
      style.left = `${((cell % this.columns) / this.columns) * 100}%`;
      style.top = `${(Math.floor(cell / this.columns) / this.rows) * 100}%`;
      style.width = `${100 / this.columns}%`;
      style.height = `${100 / this.rows}%`;
    }

    // Paint shares (0 to 1) of a grid whose cells are `wide` patches wide and high; the last may stand over the edge.
    paint(rows, columns, shares, colours, wide) {
      paint(this.small, rows, columns, shares, colours);
      const context = this.canvas.getContext("2d");
      context.clearRect(0, 0, this.canvas.width, this.canvas.height);
      context.imageSmoothingEnabled = this.smooth;
      context.imageSmoothingQuality = "high";
      const width = (this.canvas.width * columns * (wide || 1)) / this.columns;
      const height = (this.canvas.height * rows * (wide || 1)) / this.rows;
      context.drawImage(this.small, 0, 0, width, height);
    }

    opacity(share) {
      this.canvas.style.opacity = String(share);
    }

    outline(path) {
      for (const line of this.root.querySelectorAll("path")) line.setAttribute("d", path || "");
    }

    photo(source, width, height) {
      const image = this.root.querySelector("img");
      image.src = source;
      image.width = width;
      image.height = height;
    }
  }

  function place(cell, columns) {
    return `row ${Math.floor(cell / columns) + 1}, column ${(cell % columns) + 1}`;
  }

  Object.assign(Atlas, { Board, paint, ramp, table, place });
})();
