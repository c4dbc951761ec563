// The page itself: what a click does, and what it changes.

const data = JSON.parse(find("data").textContent);
const people = new People(data);
const past = new History(people.ids, `sightline:${data.page}`);
const view = { text: "", order: "length", all: false, paused: recall("sightline:paused") === "yes" };
const still = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");
let told; // the person last told to whoever reads the console
let labels; // the names that the picture and the table were last made with

const name = (place) => nameOf(past.board.cardOf[place], past.board);
const cards = new Cards(find("cards"), people, { toggle, merge, split, rename, jump });
const map = people.all.length > 1
  ? new HeatMap(find("similarity"), people, (place) => past.board.names.get(place) ?? people.ids[place], selectPair) : null;
const table = new PairTable(find("pairs"), people, (place) => past.board.names.get(place) ?? people.ids[place]);

// What a person does

function toggle(place) {
  const card = past.board.cardOf[place];
  const gone = past.board.selected.includes(card);
  past.take(gone ? "deselect" : "select", [people.ids[card[0]]]);
  render(`${gone ? "Deselected" : "Selected"} ${brief(name(place))}. ${summary()}`);
}

function selectPair(...places) {
  const ids = places.map((place) => past.board.cardOf[place]).filter((card) => !past.board.selected.includes(card));
  if (ids.length) past.take("select", [...new Set(ids.map((card) => people.ids[card[0]]))]);
  render(summary());
}

/** Nobody is twice in one frame, so those who were seen together are merged only by somebody who insists. */
async function merge(places) {
  const merged = [...new Set(places.map((place) => past.board.cardOf[place]))];
  if (merged.length < 2) return;
  const apart = seenTogether(merged);
  if (apart && !(await ask({ title: "Two people, it seems", text: apart, confirm: "Merge anyway", cancel: "Keep apart" }))) return;
  const lowest = Math.min(...merged.flat());
  past.take("merge", merged.flat().sort((a, b) => a - b).map((place) => people.ids[place]));
  render(`Merged into ${brief(name(lowest))}. ${summary()}`);
  focusCard(lowest);
}

function seenTogether(merged) {
  for (const [index, left] of merged.entries()) {
    for (const right of merged.slice(index + 1)) {
      const frames = people.cardTogether(left, right);
      const names = `${brief(nameOf(left, past.board))} and ${brief(nameOf(right, past.board))}`;
      if (frames) return `${names} were seen together in ${count(frames, "frame")}. One person cannot be in two places at once.`;
    }
  }
  return null;
}

function split(place) {
  const card = past.board.cardOf[place];
  past.take("split", card.map((one) => people.ids[one]));
  render(`Split into ${card.length}. ${summary()}`);
  focusCard(place);
}

async function rename(place) {
  const card = past.board.cardOf[place];
  const named = card.find((one) => past.board.names.has(one));
  const value = named === undefined ? "" : past.board.names.get(named);
  const answer = await ask({ title: `Rename ${brief(name(place))}`, text: "Empty: as it was called at first.", confirm: "Rename", cancel: "Cancel", value });
  if (answer === null || answer.trim() === value) return;
  past.take("rename", [people.ids[card[0]]], answer.trim());
  render(`Now called ${brief(name(place))}.`);
}

function clear() {
  if (!past.board.selected.length) return;
  past.take("deselect", past.board.selected.map((card) => people.ids[card[0]]));
  render("Nobody is selected.");
}

function undo() {
  if (past.canUndo) render(`Undone: ${past.undo().action}. ${summary()}`);
}

function redo() {
  if (past.canRedo) render(`Done again: ${past.redo().action}. ${summary()}`);
}

/** Shows the card of that person even where the filter or the limit hid it. */
function jump(place) {
  if (!shownCards().includes(past.board.cardOf[place])) {
    Object.assign(view, { text: "", all: true });
    find("filter").value = "";
    render();
  }
  focusCard(place);
}

function focusCard(place) {
  const element = find(`card-${past.board.cardOf[place].join("-")}`);
  if (!element) return;
  element.scrollIntoView({ block: "center", behavior: still.matches ? "auto" : "smooth" });
  element.querySelector(".pick").focus({ preventScroll: true });
}

// What the page shows

function orderedCards() {
  const facts = new Map(past.board.cards.map((card) => [card, people.facts(card)]));
  const { selected } = past.board;
  if (view.order !== "similar") return [...facts.keys()].sort((a, b) => ORDERS[view.order](facts.get(a), facts.get(b)));
  const closest = (card) => selected.includes(card) ? 2 : Math.max(-2, ...selected.map((one) => people.cardScore(card, one) ?? -2));
  return [...facts.keys()].map((card) => [closest(card), card]).sort((a, b) => b[0] - a[0]).map(([, card]) => card);
}

function matches(card) {
  const texts = [name(card[0]), ...card.flatMap((place) => [people.ids[place], ...people.all[place].cameras])];
  return texts.some((text) => text.toLowerCase().includes(view.text));
}

function shownCards() {
  const ordered = orderedCards();
  if (view.text) return ordered.filter(matches);
  return view.all ? ordered : ordered.slice(0, data.top);
}

function summary() {
  const { selected } = past.board;
  if (!selected.length) return "Nobody is selected.";
  return `${count(selected.length, "person", "people")} selected: ${selected.map((card) => brief(nameOf(card, past.board))).join(", ")}`;
}

/** Everything follows from the choice and the view; `message` is read out to those who cannot see it. */
function render(message) {
  const shown = shownCards();
  const total = past.board.cards.length;
  cards.show(shown, past.board, !still.matches && !view.paused);
  setText(find("count"), shown.length === total ? count(total, "person", "people") : `${shown.length} of ${total}`);
  find("more").hidden = view.all || Boolean(view.text) || total <= data.top;
  setText(find("more"), `Show all ${total}`);
  find("nobody").hidden = shown.length > 0;
  setText(find("nobody"), total ? "Nobody matches the filter." : "Nobody was found, so there is nobody to choose.");
  setText(find("summary"), summary());
  for (const [id, possible] of Object.entries({ undo: past.canUndo, redo: past.canRedo, clear: past.board.selected.length, merge: past.board.selected.length > 1 })) {
    find(id).setAttribute("aria-disabled", !possible);
  }
  find("not-kept").hidden = past.kept;
  relabel();
  tell();
  if (message) setText(find("live"), message);
}

/** The picture and the table show people, not cards, under the names they have now. */
function relabel() {
  const names = JSON.stringify([...past.board.names]);
  if (names === labels) return;
  labels = names;
  map?.redraw();
  table.forget();
}

/** The line and the key that the steps after this page wait for. */
function tell() {
  const [first] = past.board.selected;
  const id = first && people.ids[first[0]];
  if (id === told) return;
  told = id;
  if (id === undefined) return forgetSelected();
  remember("selected_person_id", id);
  console.log(`SELECTED_PERSON: ${id}`);
}

function forgetSelected() {
  try {
    localStorage.removeItem("selected_person_id");
  } catch {
    find("not-kept").hidden = false;
  }
}

// Theme and motion

function applyTheme() {
  const chosen = recall("sightline:theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
  const isDark = (chosen ?? (dark.matches ? "dark" : "light")) === "dark";
  find("theme").setAttribute("aria-pressed", isDark);
  map?.redraw();
}

function toggleTheme() {
  const isDark = find("theme").getAttribute("aria-pressed") === "true";
  document.documentElement.dataset.theme = isDark ? "light" : "dark";
  remember("sightline:theme", isDark ? "light" : "dark");
  applyTheme();
}

function applyMotion() {
  find("pause").setAttribute("aria-pressed", view.paused || still.matches);
  render();
}

// Wiring

function onClick(id, action) {
  find(id).addEventListener("click", (event) => {
    if (event.currentTarget.getAttribute("aria-disabled") !== "true") action();
  });
}

/** The arrow keys go from card to card. */
function walk(event) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step || !event.target.classList.contains("pick")) return;
  const picks = [...find("cards").querySelectorAll(".pick")];
  picks[picks.indexOf(event.target) + step]?.focus();
  event.preventDefault();
}

function shortcut(event) {
  if (!(event.ctrlKey || event.metaKey) || event.target.matches("input, textarea") || document.querySelector("dialog[open]")) return;
  const key = event.key.toLowerCase();
  if (key === "z" && !event.shiftKey) undo();
  else if (key === "y" || (key === "z" && event.shiftKey)) redo();
  else return;
  event.preventDefault();
}

onClick("merge", () => merge(past.board.selected.map((card) => card[0])));
onClick("clear", clear);
onClick("undo", undo);
onClick("redo", redo);
onClick("save", () => showExport(past.board.toJson(data.page, data.sightline)));
onClick("download", download);
onClick("copy", copy);
onClick("close", () => find("export").close());
onClick("cancel", () => find("ask").close());
onClick("theme", toggleTheme);
onClick("pause", () => {
  view.paused = !view.paused;
  remember("sightline:paused", view.paused ? "yes" : "no");
  applyMotion();
});
onClick("more", () => {
  const [next] = orderedCards().slice(data.top);
  view.all = true;
  render(`All ${past.board.cards.length} are shown.`);
  focusCard(next[0]);
});
find("ask").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  find("ask").close("yes");
});
find("filter").addEventListener("input", (event) => {
  view.text = event.target.value.trim().toLowerCase();
  render();
});
find("order").addEventListener("change", (event) => {
  view.order = event.target.value;
  render();
});
find("cards").addEventListener("keydown", walk);
document.addEventListener("keydown", shortcut);
still.addEventListener("change", applyMotion);
dark.addEventListener("change", applyTheme);
window.addEventListener("storage", (event) => {
  if (event.key !== past.storageKey) return;
  past.load();
  render("The choice was changed in another window.");
});
for (const element of document.querySelectorAll("#similarity, #similarity-link, .tools label")) element.hidden = !map;
applyTheme();
applyMotion();
