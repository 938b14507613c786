"use strict";
// The position explorer: point at a patch and see how similar all others' position embeddings are.
(function () {
  const data = Atlas.json("positions-data");
  if (!data) return;
  const [rows, columns] = data.shown;
  const count = rows * columns;
  const colours = Atlas.table("similarity", false);
  const names = data.same ? ["after"] : ["before", "after"];
  const reading = document.getElementById("positions-reading");
  const boards = [];
  let maps = null;

  const cosine = (name, from, to) => maps[name].values[from * count + to] / data.levels - 1;

  function draw(patch) {
    if (!maps) return;
    const from = patch === null ? Math.floor(rows / 2) * columns + Math.floor(columns / 2) : patch;
    const said = [];
    names.forEach((name, index) => {
      const span = 1 - data.lowest || 1;
      const shares = Float32Array.from({ length: count }, (_, to) => (cosine(name, from, to) - data.lowest) / span);
      boards[index].paint(rows, columns, shares, colours, 1);
      said.push(`${data.same ? "" : `${name} fine-tuning `}${neighbours(name, from).toFixed(2)}`);
    });
    const [row, column] = [Math.floor(from / columns), from % columns];
    const whole = (place, side) => Math.floor(((side - 1) % data.step) / 2) + place * data.step + 1;
    reading.textContent = `Patch in row ${whole(row, data.grid[0])}, column ${whole(column, data.grid[1])} of ${data.grid[0]} by ${data.grid[1]}: mean similarity with its neighbours on the map ${said.join(", ")}.`;
  }

  function neighbours(name, from) {
    const [row, column] = [Math.floor(from / columns), from % columns];
    const near = [[-1, 0], [1, 0], [0, -1], [0, 1]]
      .map(([down, right]) => [row + down, column + right])
      .filter(([y, x]) => y >= 0 && y < rows && x >= 0 && x < columns);
    return near.reduce((sum, [y, x]) => sum + cosine(name, from, y * columns + x), 0) / (near.length || 1);
  }

  // Both maps follow one pointer.
  function follow(source, cell) {
    for (const board of boards) {
      if (board === source) continue;
      board.pinned = source.pinned;
      board.hovered = source.hovered;
      board.mark();
    }
    draw(cell);
  }

  for (const name of names) {
    const board = new Atlas.Board(document.getElementById(`positions-${name}-board`), (cell) => follow(board, cell));
    board.grid(rows, columns, columns / rows);
    board.smooth = false;
    board.pinned = Math.floor(rows / 2) * columns + Math.floor(columns / 2);
    board.mark();
    boards.push(board);
  }
  Atlas.ramp(document.getElementById("positions-bar"), "similarity");
  Atlas.ready.positions = Atlas.unpack(data).then((found) => {
    maps = found;
    draw(boards[0].cell);
  });
})();
