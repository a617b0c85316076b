// Thousands of tiles of which only those in sight exist.

const TILE = { width: 104, height: 132 };
const SPARE_LINES = 2;

class Grid {
  /** `fill(number, position)` makes the tile of a row. */
  constructor(frame, list, fill) {
    this.frame = frame;
    this.list = list;
    this.fill = fill;
    this.numbers = [];
    this.tiles = new Map();
    frame.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(frame);
  }

  get columns() {
    return Math.max(1, Math.floor(this.list.clientWidth / TILE.width));
  }

  show(numbers) {
    this.numbers = numbers;
    this.tiles.clear();
    this.list.replaceChildren();
    this.draw();
  }

  draw() {
    const { columns } = this;
    const { scrollTop, clientHeight } = this.frame;
    this.list.style.height = `${Math.ceil(this.numbers.length / columns) * TILE.height}px`;
    const first = Math.max(0, Math.floor(scrollTop / TILE.height) - SPARE_LINES) * columns;
    const last = (Math.ceil((scrollTop + clientHeight) / TILE.height) + SPARE_LINES) * columns;
    const wanted = this.numbers.slice(first, last);
    const stay = new Set(wanted);
    for (const number of this.tiles.keys()) if (!stay.has(number)) this.refresh(number);
    wanted.forEach((number, i) => {
      const tile = this.tiles.get(number) ?? this.fill(number, first + i);
      const [x, y] = [(first + i) % columns, Math.floor((first + i) / columns)];
      tile.style.transform = `translate(${x * TILE.width}px, ${y * TILE.height}px)`;
      this.tiles.set(number, tile);
      // In the order of the list, for those who hear it read.
      if (this.list.children[i] !== tile) this.list.insertBefore(tile, this.list.children[i] ?? null);
    });
  }

  /** Takes one tile away; the next drawing makes it anew where it is in sight. */
  refresh(number) {
    this.tiles.get(number)?.remove();
    this.tiles.delete(number);
  }

  reveal(number) {
    const position = this.numbers.indexOf(number);
    if (position < 0) return;
    const top = Math.floor(position / this.columns) * TILE.height;
    const { scrollTop, clientHeight } = this.frame;
    if (top < scrollTop) this.frame.scrollTop = top;
    else if (top + TILE.height > scrollTop + clientHeight) this.frame.scrollTop = top + TILE.height - clientHeight;
  }
}
