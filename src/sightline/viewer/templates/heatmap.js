// The similarity of everybody with everybody as a picture: legible with three people, and with hundreds.

const LARGEST_CELL = 64; // pixels of the page
const LABELLED_UP_TO = 24; // people
const LONGEST_LABEL = 120;
const PAIRS_AT_ONCE = 100; // rows of the table

class HeatMap {
  /** `names(place)` is what somebody is called now; `pick(i, j)` is called for a pair that was clicked. */
  constructor(root, people, names, pick) {
    this.canvas = root.querySelector("canvas");
    this.readout = root.querySelector("output");
    this.swatches = root.querySelector(".legend");
    Object.assign(this, { people, names, size: people.all.length, cursor: null });
    this.picture = document.createElement("canvas");
    this.canvas.addEventListener("pointermove", (event) => this.point(this.cellAt(event)));
    this.canvas.addEventListener("pointerleave", () => this.point(null));
    this.canvas.addEventListener("click", (event) => this.choose(this.cellAt(event), pick));
    this.canvas.addEventListener("keydown", (event) => this.key(event, pick));
    this.canvas.addEventListener("focus", () => this.point(this.cursor ?? [0, Math.min(1, this.size - 1)]));
    new ResizeObserver(() => this.redraw()).observe(this.canvas.parentElement);
  }

  /** After a change of theme, size or names. */
  redraw() {
    this.margin = this.size <= LABELLED_UP_TO ? this.labelWidth() : 0;
    const room = this.canvas.parentElement.clientWidth - this.margin;
    this.cell = Math.min(LARGEST_CELL, Math.max(room / this.size, 0.1));
    if (this.cell > 2) this.cell = Math.floor(this.cell);
    const side = Math.ceil(this.margin + this.cell * this.size);
    const ratio = window.devicePixelRatio || 1;
    Object.assign(this.canvas, { width: side * ratio, height: side * ratio });
    this.canvas.style.width = this.canvas.style.height = `${side}px`;
    this.ratio = ratio;
    this.paintPicture();
    this.draw();
  }

  labelWidth() {
    const context = this.canvas.getContext("2d");
    context.font = "12px system-ui, sans-serif";
    const widths = this.people.ids.map((_, place) => context.measureText(this.names(place).slice(0, 40)).width);
    return Math.min(LONGEST_LABEL, Math.ceil(Math.max(...widths)) + 12);
  }

  /** One pixel a pair; drawn larger afterwards. */
  paintPicture() {
    Object.assign(this.picture, { width: this.size, height: this.size });
    const context = this.picture.getContext("2d");
    const image = context.createImageData(this.size, this.size);
    const colour = this.colours();
    for (let i = 0; i < this.size; i += 1) {
      for (let j = 0; j < this.size; j += 1) {
        image.data.set([...colour(i, j), 255], 4 * (i * this.size + j));
      }
    }
    context.putImageData(image, 0, 0);
  }

  /** The colour of a pair: blue deepens up to the threshold, orange beyond it. The style sheet says which blue. */
  colours() {
    const [none, low, high, like, same] = [...this.swatches.querySelectorAll("i")].map((swatch) =>
      getComputedStyle(swatch).backgroundColor.match(/[\d.]+/g).slice(0, 3).map(Number));
    const { threshold } = this.people;
    const lowest = this.lowest();
    const mix = (from, to, share) => from.map((part, index) => part + (to[index] - part) * Math.min(1, Math.max(0, share)));
    return (i, j) => {
      const score = this.people.score(i, j);
      if (i === j || score === null) return none;
      if (score >= threshold) return mix(like, same, (score - threshold) / (1 - threshold || 1));
      return mix(low, high, (score - lowest) / (threshold - lowest || 1));
    };
  }

  lowest() {
    let lowest = this.people.threshold;
    for (let i = 0; i < this.size; i += 1) {
      for (let j = 0; j < this.size; j += 1) lowest = Math.min(lowest, this.people.score(i, j) ?? lowest);
    }
    return lowest;
  }

  draw() {
    const context = this.canvas.getContext("2d");
    const ink = getComputedStyle(this.canvas).color;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.imageSmoothingEnabled = this.cell < 1;
    const side = this.cell * this.size;
    context.drawImage(this.picture, this.margin, this.margin, side, side);
    Object.assign(context, { fillStyle: ink, strokeStyle: ink, textBaseline: "middle" });
    if (this.cell >= 12) this.drawMarks(context);
    if (this.margin) this.drawLabels(context);
    if (this.cursor) this.drawCursor(context, side);
  }

  /** The score where there is room for it, and a ring round pairs seen together. */
  drawMarks(context) {
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    for (let i = 0; i < this.size; i += 1) {
      for (let j = 0; j < this.size; j += 1) {
        const [x, y] = this.centreOf(i, j);
        const score = this.people.score(i, j);
        if (this.cell >= 36 && i !== j && score !== null) context.fillText(score.toFixed(2), x, y);
        if (this.people.together(i, j)) {
          context.beginPath();
          context.arc(x, this.cell >= 36 ? y + 14 : y, 2.5, 0, 7);
          context.stroke();
        }
      }
    }
  }

  drawLabels(context) {
    context.font = `${Math.min(12, this.cell)}px system-ui, sans-serif`;
    for (let place = 0; place < this.size; place += 1) {
      const [x, y] = this.centreOf(place, place);
      const text = fitting(context, this.names(place), this.margin - 10);
      context.textAlign = "right";
      context.fillText(text, this.margin - 6, y);
      context.save();
      context.translate(x, this.margin - 6);
      context.rotate(-Math.PI / 2);
      context.textAlign = "left";
      context.fillText(text, 0, 0);
      context.restore();
    }
  }

  drawCursor(context, side) {
    const [i, j] = this.cursor;
    const width = Math.max(this.cell, 3);
    const [x, y] = this.centreOf(i, j);
    context.globalAlpha = 0.35;
    context.strokeRect(this.margin, y - width / 2, side, width);
    context.strokeRect(x - width / 2, this.margin, width, side);
    context.globalAlpha = 1;
    context.lineWidth = 2;
    context.strokeRect(x - width / 2, y - width / 2, width, width);
    context.lineWidth = 1;
  }

  centreOf(i, j) {
    return [this.margin + (j + 0.5) * this.cell, this.margin + (i + 0.5) * this.cell];
  }

  cellAt(event) {
    const [j, i] = [event.offsetX, event.offsetY].map((at) => Math.floor((at - this.margin) / this.cell));
    return [i, j].every((place) => place >= 0 && place < this.size) ? [i, j] : null;
  }

  point(cell) {
    this.cursor = cell;
    setText(this.readout, cell ? this.sentence(...cell) : "Point at a square, or go there with the arrow keys.");
    this.draw();
  }

  sentence(i, j) {
    const [left, right] = [i, j].map((place) => brief(this.names(place)));
    if (i === j) return left;
    const score = this.people.score(i, j);
    const together = this.people.together(i, j);
    return `${left} and ${right}: ${score === null ? "not compared" : score.toFixed(2)}`
      + (together ? `, seen together in ${count(together, "frame")}` : "");
  }

  choose(cell, pick) {
    if (cell) pick(...new Set(cell));
  }

  key(event, pick) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const cell = this.cursor ?? [0, 0];
    if (step) this.point(cell.map((place, axis) => Math.min(this.size - 1, Math.max(0, place + step[axis]))));
    else if (event.key === "Enter" || event.key === " ") this.choose(cell, pick);
    else return;
    event.preventDefault();
  }
}

/** As much of the text as the width has room for. */
function fitting(context, text, width) {
  let shown = text.slice(0, 40);
  if (shown === text && context.measureText(text).width <= width) return text;
  while (shown && context.measureText(`${shown}…`).width > width) shown = shown.slice(0, -1);
  return `${shown}…`;
}

/** The same as a table, the most similar pairs first; it grows when asked to. */
class PairTable {
  constructor(root, people, names) {
    Object.assign(this, { root, body: root.querySelector("tbody"), more: root.querySelector("button"), people, names });
    this.more.addEventListener("click", () => this.grow());
    root.addEventListener("toggle", () => root.open && !this.pairs && this.fill());
  }

  fill() {
    const places = this.people.ids.map((_, place) => place);
    this.pairs = places
      .flatMap((i) => places.slice(i + 1).map((j) => ({ i, j, score: this.people.score(i, j) })))
      .sort((a, b) => (b.score ?? -2) - (a.score ?? -2));
    this.grow();
  }

  grow() {
    const from = this.body.childElementCount;
    const rows = this.pairs.slice(from, from + PAIRS_AT_ONCE).map(({ i, j, score }) => make("tr", {},
      make("th", { scope: "row" }, make("span", { dir: "auto" }, this.names(i))),
      make("td", {}, make("span", { dir: "auto" }, this.names(j))),
      make("td", {}, score === null ? "not compared" : score.toFixed(2)),
      make("td", {}, count(this.people.together(i, j), "frame"))));
    this.body.append(...rows);
    this.more.hidden = this.body.childElementCount === this.pairs.length;
  }

  /** Names may have changed; made again when next opened. */
  forget() {
    this.pairs = null;
    this.body.replaceChildren();
    if (this.root.open) this.fill();
  }
}
