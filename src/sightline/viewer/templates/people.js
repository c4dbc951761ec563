// The people of the page, and what is known of one card of them.

const NO_SCORE = -32768;

class People {
  constructor(data) {
    this.all = data.people;
    this.ids = data.people.map((person) => person.id);
    this.threshold = data.notes.threshold;
    this.trained = data.notes.trained;
    const bytes = Uint8Array.from(atob(data.similarity), (letter) => letter.charCodeAt(0));
    this.scores = new DataView(bytes.buffer);
    this.frames = new Map(data.together.map(([i, j, frames]) => [i * this.all.length + j, frames]));
  }

  /** How alike two people are, or null where they were not compared. */
  score(i, j) {
    const steps = this.scores.getInt16(2 * (i * this.all.length + j), true);
    return steps === NO_SCORE ? null : steps / 10000;
  }

  /** How many frames show both. */
  together(i, j) {
    return this.frames.get(Math.min(i, j) * this.all.length + Math.max(i, j)) ?? 0;
  }

  /** The mean over all pairs of people of two cards, or null. */
  cardScore(left, right) {
    if (left.length === 1 && right.length === 1) return this.score(left[0], right[0]);
    const scores = left.flatMap((i) => right.map((j) => this.score(i, j))).filter((score) => score !== null);
    return scores.length ? scores.reduce((sum, score) => sum + score, 0) / scores.length : null;
  }

  cardTogether(left, right) {
    return left.reduce((sum, i) => sum + right.reduce((inner, j) => inner + this.together(i, j), 0), 0);
  }

  /** Scores of random weights suggest nothing. */
  suggests(score) {
    return this.trained && score !== null && score >= this.threshold;
  }

  /** When a card was first and last seen, for how many seconds, visits and frames, where, and how well; null: not known. */
  facts(card) {
    const people = card.map((place) => this.all[place]);
    const known = (key) => people.map((person) => person[key]).filter((value) => value !== null);
    const lengths = people.map(secondsOf).filter((seconds) => seconds !== null);
    const sum = (numbers) => numbers.length ? numbers.reduce((total, number) => total + number, 0) : null;
    return {
      first: known("first").length ? Math.min(...known("first")) : null,
      last: known("last").length ? Math.max(...known("last")) : null,
      length: sum(lengths),
      visits: sum(known("visits")),
      frames: sum(known("frames")),
      cameras: [...new Set(people.flatMap((person) => person.cameras))],
      quality: known("quality").length ? Math.max(...known("quality")) : null,
    };
  }

  /** The most similar other cards, the most similar first; without sorting all, for every card asks this. */
  closest(card, cards, most) {
    const best = [];
    for (const other of cards) {
      const score = other === card ? null : this.cardScore(card, other);
      if (score === null || (best.length === most && score <= best[most - 1].score)) continue;
      const at = best.findIndex((item) => item.score < score);
      best.splice(at < 0 ? best.length : at, 0, { card: other, score });
      best.length = Math.min(best.length, most);
    }
    return best;
  }
}

/** Somebody who went away and came back was in view for less than lies between the first time and the last. */
function secondsOf({ seconds, first, last }) {
  return seconds ?? (first === null || last === null ? null : last - first);
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  const pad = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return hours ? `${hours}:${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}` : `${Math.floor(whole / 60)}:${pad(whole % 60)}`;
}

function duration(seconds) {
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

const ORDERS = {
  length: (a, b) => (b.length ?? b.frames ?? -1) - (a.length ?? a.frames ?? -1),
  time: (a, b) => (a.first ?? Infinity) - (b.first ?? Infinity) || 0,
  quality: (a, b) => (b.quality ?? -1) - (a.quality ?? -1),
};

/** A new element; text is only ever set as text, so a name cannot become markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}
