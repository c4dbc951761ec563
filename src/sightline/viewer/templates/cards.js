// The cards. An element is made once for every group of people and then only brought up to date, so that pictures do not
// start again and the focus stays where it was.

const MOST_SIMILAR = 4; // shown on a card
const MOST_PICTURES = 4; // of a merged card

class Cards {
  constructor(list, people, actions) {
    Object.assign(this, { list, people, actions, made: new Map(), rankings: new Map(), grouping: "" });
  }

  /** Show these cards of the board in this order. `moving` is whether pictures may move. */
  show(cards, board, moving) {
    this.forgetRankingsOfOtherGroups(board);
    const focused = document.activeElement;
    const wanted = cards.map((card) => this.element(card));
    let next = this.list.firstChild;
    for (const element of wanted) {
      if (element === next) next = next.nextSibling;
      else this.list.insertBefore(element, next);
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
    cards.forEach((card, index) => this.update(wanted[index], card, board, moving));
    if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  }

  forgetRankingsOfOtherGroups(board) {
    const grouping = board.cards.join(";");
    if (grouping !== this.grouping) this.rankings.clear();
    this.grouping = grouping;
  }

  ranked(card, board) {
    const key = card.join();
    if (!this.rankings.has(key)) this.rankings.set(key, this.people.closest(card, board.cards, MOST_SIMILAR));
    return this.rankings.get(key);
  }

  element(card) {
    const key = card.join();
    if (!this.made.has(key)) this.made.set(key, this.build(card));
    return this.made.get(key);
  }

  build(card) {
    const [place] = card;
    const id = `card-${card.join("-")}`;
    return make("li", { class: "card", id },
      make("button", { class: "pick", type: "button", "aria-describedby": `${id}-facts`, onclick: () => this.actions.toggle(place) },
        this.pictures(card),
        make("span", { class: "tick", "aria-hidden": "true" }, "✓"),
        make("span", { class: "name", dir: "auto" })),
      make("div", { class: "facts", id: `${id}-facts` }, ...this.facts(card)),
      make("div", { class: "similar" }),
      make("div", { class: "actions" },
        make("button", { class: "quiet rename", type: "button", onclick: () => this.actions.rename(place) }, "Rename"),
        card.length > 1
          ? make("button", { class: "quiet split", type: "button", onclick: () => this.actions.split(place) }, "Split")
          : null));
  }

  pictures(card) {
    const shown = card.slice(0, MOST_PICTURES).map((place) => this.people.all[place]);
    const more = card.length - shown.length;
    return make("span", { class: `well of-${shown.length}` },
      ...shown.map(({ clip, still }) => clip
        ? make("img", { alt: "", loading: "lazy", decoding: "async", "data-clip": clip, "data-still": still ?? clip })
        : make("span", { class: "no-picture" }, "no picture")),
      more ? make("span", { class: "more-pictures" }, `+${more}`) : null);
  }

  facts(card) {
    const { first, last, length, visits, frames, cameras, quality } = this.people.facts(card);
    const when = first === null || last === null ? "time not known" : `${clock(first)} – ${clock(last)}`;
    const seen = [
      visits === null ? null : count(visits, "visit"),
      length === null ? null : duration(length),
      frames === null ? null : count(frames, "frame"),
    ];
    return [
      make("p", { class: "when" }, when),
      make("p", {}, seen.filter(Boolean).join(" · ")),
      cameras.length ? make("p", { class: "cameras" }, ...cameras.map((camera) => make("span", { dir: "auto" }, camera))) : null,
      quality === null ? null : make("p", { class: "quality" }, "quality ",
        make("meter", { min: 0, max: 1, value: quality, "aria-hidden": "true" }), ` ${Math.round(quality * 100)} %`),
      card.length === 1 ? null : make("p", { class: "members" },
        `${card.length} merged: ${card.map((place) => this.people.ids[place]).join(", ")}`),
    ];
  }

  update(element, card, board, moving) {
    const selected = board.selected.includes(card);
    element.classList.toggle("selected", selected);
    const pick = element.querySelector(".pick");
    pick.setAttribute("aria-pressed", selected);
    const name = nameOf(card, board);
    setText(pick.querySelector(".name"), name);
    for (const button of element.querySelectorAll(".actions button")) button.setAttribute("aria-label", `${button.textContent} ${brief(name)}`);
    for (const image of element.querySelectorAll("img")) {
      const source = moving ? image.dataset.clip : image.dataset.still;
      if (image.getAttribute("src") !== source) image.src = source;
    }
    this.updateSimilar(element.querySelector(".similar"), card, board);
  }

  updateSimilar(box, card, board) {
    const ranked = this.ranked(card, board);
    const state = JSON.stringify(ranked.map((other) => [other.card, nameOf(other.card, board)]));
    if (box.dataset.state === state) return;
    box.dataset.state = state;
    box.replaceChildren(
      make("h3", {}, ranked.length ? "Most similar" : "Nobody to compare with"),
      make("ul", {}, ...ranked.map((other) => this.similar(card, other, board))));
  }

  similar(card, other, board) {
    const name = nameOf(other.card, board);
    const together = this.people.cardTogether(card, other.card);
    const [place, otherPlace] = [card[0], other.card[0]];
    return make("li", {},
      make("button", { class: "jump", type: "button", dir: "auto", title: brief(name), "aria-label": `Go to ${brief(name)}`, onclick: () => this.actions.jump(otherPlace) }, name),
      make("span", { class: "score" }, other.score.toFixed(2)),
      together
        ? make("span", { class: "badge apart", title: `in ${count(together, "frame")} together: two people` }, "together")
        : this.people.suggests(other.score)
          ? make("button", { class: "badge merge", type: "button", "aria-label": `Merge with ${brief(name)}`, onclick: () => this.actions.merge([place, otherPlace]) }, "merge")
          : null);
  }
}

/** The first name given to anybody on the card; else what its people were called. */
function nameOf(card, board) {
  const named = card.find((place) => board.names.has(place));
  return named === undefined ? card.map((place) => board.ids[place]).join(" + ") : board.names.get(named);
}

/** For messages and labels: a name may be kilobytes long. */
function brief(name) {
  return name.length > 40 ? `${[...name.slice(0, 40)].slice(0, 38).join("")}…` : name;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
