// What was chosen: a list of steps, and what they lead to. `sightline select` replays the same steps by the same rules
// and writes the same selection.json, so a change here is a change of selection.py.

const ACTIONS = ["select", "deselect", "merge", "split", "rename"];

/** Where steps lead: a card is an array of places of people, first to last; cards are compared by identity. */
class Board {
  constructor(ids, steps = []) {
    this.ids = ids;
    this.placeOf = new Map(ids.map((id, place) => [id, place]));
    this.cardOf = ids.map((_, place) => [place]);
    this.selected = [];
    this.names = new Map();
    this.steps = [];
    for (const step of steps) this.do(step);
  }

  get cards() {
    return this.cardOf.filter((card, place) => card[0] === place);
  }

  do(step) {
    const cards = [...new Set(step.persons.map((id) => this.cardOf[this.placeOf.get(id)]))];
    if (cards.includes(undefined) || !ACTIONS.includes(step.action)) throw new RangeError("no step of this page");
    this[step.action](cards, step.name);
    this.steps.push(step);
  }

  select(cards) {
    this.selected.push(...cards.filter((card) => !this.selected.includes(card)));
  }

  deselect(cards) {
    this.selected = this.selected.filter((card) => !cards.includes(card));
  }

  merge(cards) {
    const merged = cards.flat().sort((a, b) => a - b);
    for (const place of merged) this.cardOf[place] = merged;
    this.selected = [...new Set(this.selected.map((card) => (cards.includes(card) ? merged : card)))];
  }

  split(cards) {
    for (const place of cards.flat()) this.cardOf[place] = [place];
    this.selected = this.selected.flatMap((card) =>
      cards.includes(card) ? card.map((place) => this.cardOf[place]) : [card]);
  }

  rename(cards, name) {
    for (const card of cards) {
      for (const place of card) this.names.delete(place);
      if (name) this.names.set(card[0], name);
    }
  }

  /** selection.json, character for character as `sightline select` writes it. */
  toJson(page, sightline) {
    const idOf = (place) => this.ids[place];
    const named = [...this.names.keys()].sort((a, b) => a - b);
    const content = {
      format: 1,
      sightline,
      page,
      selected: this.selected.map((card) => idOf(card[0])),
      names: named.map((place) => ({ person: idOf(place), name: this.names.get(place) })),
      merges: this.cards.filter((card) => card.length > 1).map((card) => card.map(idOf)),
      history: this.steps,
    };
    return `${JSON.stringify(content, null, 2)}\n`;
  }
}

/** Every step ever taken and not overtaken, and how many of them count: undo and redo only move the count. */
class History {
  constructor(ids, storageKey) {
    this.ids = ids;
    this.storageKey = storageKey;
    this.load();
  }

  get canUndo() { return this.count > 0; }
  get canRedo() { return this.count < this.steps.length; }

  take(action, persons, name) {
    const step = name === undefined ? { action, persons } : { action, persons, name };
    this.steps = [...this.steps.slice(0, this.count), step];
    this.go(this.count + 1);
  }

  undo() { this.go(this.count - 1); return this.steps[this.count]; }
  redo() { this.go(this.count + 1); return this.steps[this.count - 1]; }

  go(count) {
    this.count = count;
    this.board = new Board(this.ids, this.steps.slice(0, count));
    this.kept = remember(this.storageKey, JSON.stringify({ steps: this.steps, count }));
  }

  /** What this browser kept for this page; a page of its own content has its own key. What makes no sense is dropped. */
  load() {
    try {
      const { steps, count } = JSON.parse(recall(this.storageKey) ?? '{"steps": [], "count": 0}');
      new Board(this.ids, steps);
      this.board = new Board(this.ids, steps.slice(0, count));
      Object.assign(this, { steps, count: this.board.steps.length, kept: true });
    } catch {
      Object.assign(this, { steps: [], count: 0, kept: true, board: new Board(this.ids) });
    }
  }
}

/** False where the browser keeps nothing: private windows, full storage, switched off. */
function remember(key, text) {
  try {
    localStorage.setItem(key, text);
    return true;
  } catch {
    return false;
  }
}

function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
