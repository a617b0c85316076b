// The page: the face under review, the filters, the keys.

const $ = (id) => document.getElementById(id);
const audit = JSON.parse($("data").textContent);
const { rows, classes } = audit;
const decisions = new Decisions(audit);
const scores = rows.map((row) => row.figures[0] ?? -Infinity);
const MARK = { undecided: "", accept: "✓", keep: "=", change: "✎", drop: "✕" };
let focus = 0;
let shown = [];
let mapOn = false;

const grid = new Grid($("grid"), $("tiles"), (number, position) => {
  const row = rows[number];
  const action = decisions.action(number);
  const tile = element("li", `tile ${STATUS[action]}`);
  const now = decisions.label.get(number);
  const right = now === undefined ? row.suggested : now;
  const suggestion = now === DROP ? "dropped" : classes[right] ?? "?";
  const frame = element("span", "thumb");
  frame.append(picture(row), element("span", "mark", MARK[action]));
  tile.append(frame, element("span", "from", classes[row.given]), element("span", "to", `→ ${suggestion}`));
  tile.id = `tile-${number}`;
  tile.setAttribute("role", "option");
  tile.setAttribute("aria-selected", number === focus);
  tile.setAttribute("aria-setsize", shown.length);
  tile.setAttribute("aria-posinset", position + 1);
  tile.title = row.path;
  tile.addEventListener("click", () => look(number));
  return tile;
});

function say(text) {
  $("message").textContent = text;
}

function look(number) {
  const before = focus;
  focus = number;
  for (const changed of [before, focus]) grid.refresh(changed);
  grid.reveal(focus);
  grid.draw();
  $("tiles").setAttribute("aria-activedescendant", `tile-${focus}`);
  drawCard();
}

function drawCard() {
  const row = rows[focus];
  const action = decisions.action(focus);
  const lit = mapOn && row.map !== null;
  const light = lit ? [heatMap(row.map), element("span", "caption", `evidence for ${classes[row.given]}`)] : [];
  $("face").replaceChildren(picture(row), ...light);
  $("face").classList.toggle("lit", lit);
  $("place").textContent = `${(focus + 1).toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
  $("chip").textContent = STATUS[action];
  $("chip").className = `chip ${STATUS[action]}`;
  $("given").textContent = classes[row.given];
  $("suggested").textContent = classes[row.suggested] ?? "no suggestion";
  $("confidence").textContent = row.confidence[0] === null ? "" : `suggested with ${percent(row.confidence[0])} confidence`;
  $("path").replaceChildren(element("bdi", "", row.path));
  $("figures").replaceChildren(...audit.figures.flatMap((name, i) => [
    element("dt", "", name === "p_given" ? "p(given)" : name),
    element("dd", "", row.figures[i] === null ? "–" : row.figures[i].toFixed(3)),
  ]));
  $("classes").replaceChildren(...classes.map((name, label) => classLine(row, name, label)));
  const others = audit.otherVotes.map((name, i) => `${name} ${row.otherVotes[i] ?? 0}`);
  $("other-votes").textContent = others.length ? `Other votes: ${others.join(" · ")}` : "";
  $("accept").disabled = row.suggested < 0;
  $("map").disabled = !row.map;
  $("map").setAttribute("aria-pressed", mapOn);
  $("undo").disabled = decisions.history.length === 0;
}

function classLine(row, name, label) {
  const line = element("li");
  const button = element("button", "class");
  button.type = "button";
  const bar = element("span", "bar");
  bar.append(element("span", "filled"));
  bar.firstChild.style.width = `${100 * (row.p[label] ?? 0)}%`;
  const roles = [label === row.given ? "given" : "", label === row.suggested ? "suggested" : ""].filter(Boolean);
  button.classList.toggle("chosen", decisions.label.get(focus) === label);
  button.append(element("kbd", "", label < 9 ? label + 1 : ""), element("span", "name", name));
  button.append(bar, element("span", "share", percent(row.p[label])));
  if (row.votes.some((votes) => votes !== null)) {
    const votes = row.votes[label] ?? 0;
    button.append(element("span", "votes", votes ? `${votes} ${votes === 1 ? "vote" : "votes"}` : ""));
  }
  button.append(element("span", "role", roles.join(", ")));
  button.addEventListener("click", () => decide(label));
  line.append(button);
  return line;
}

function drawCounts() {
  const counts = decisions.counts();
  const reviewed = rows.length - counts.undecided;
  $("progress").max = Math.max(1, rows.length);
  $("progress").value = reviewed;
  $("counter").textContent = `${reviewed.toLocaleString("en")} of ${rows.length.toLocaleString("en")} reviewed`;
  $("counts").replaceChildren(...Object.keys(STATUS).filter((action) => action !== "undecided").map((action) =>
    element("li", `chip ${STATUS[action]}`, `${MARK[action]} ${counts[action]} ${STATUS[action]}`)));
}

function decide(label) {
  const number = focus;
  decisions.decide(number, label);
  const place = shown.indexOf(number);
  const ahead = [...shown.slice(place + 1), ...shown.slice(0, place + 1)];
  const next = ahead.find((other) => decisions.action(other) === "undecided");
  const status = STATUS[decisions.action(number)];
  const lost = decisions.kept ? "" : " This browser cannot remember it: save before you close the page.";
  say(`${status}: ${label === DROP ? "left out of training" : classes[label]}.${lost}`
    + (next === undefined ? " All faces shown are reviewed; press s to save." : ""));
  refreshAfter(number, next ?? number);
}

function undo() {
  const number = decisions.undo();
  if (number === undefined) say("There is nothing to undo.");
  else {
    say(`Taken back: ${classes[rows[number].given]} → ${classes[rows[number].suggested] ?? "?"}.`);
    refreshAfter(number, number);
  }
}

function refreshAfter(changed, next) {
  grid.refresh(changed);
  drawCounts();
  if ($("filter-status").value) filter();
  look(next);
}

function move(step) {
  const place = shown.indexOf(focus);
  const target = place < 0 ? 0 : Math.min(Math.max(place + step, 0), shown.length - 1);
  if (shown.length) look(shown[target]);
}

function filter() {
  const given = $("filter-given").value;
  const suggested = $("filter-suggested").value;
  const status = $("filter-status").value;
  const share = Number($("filter-score").value) / 100;
  const [most, least] = [scores[0], scores.findLast(Number.isFinite)];
  const score = share === 0 ? -Infinity : least + share * (most - least);
  shown = [...rows.keys()].filter((number) =>
    (given === "" || rows[number].given === Number(given))
    && (suggested === "" || rows[number].suggested === Number(suggested))
    && (status === "" || decisions.action(number) === status)
    && scores[number] >= score);
  $("score-shown").textContent = share === 0 ? "any" : score.toFixed(2);
  $("matching").textContent = shown.length
    ? `${shown.length.toLocaleString("en")} shown`
    : "None shown: no suspect matches.";
  grid.show(shown);
}

function refilter() {
  filter();
  const undecided = (number) => decisions.action(number) === "undecided";
  if (shown.length) look(shown.includes(focus) ? focus : shown.find(undecided) ?? shown[0]);
}

function save() {
  const decided = decisions.label.size;
  if (decided === 0) return say("Nothing is decided yet: there is nothing to save.");
  download("corrections.csv", decisions.toCsv());
  return say(`Saved ${decided.toLocaleString("en")} decisions to corrections.csv.`);
}

async function load(file) {
  try {
    const { taken, others } = decisions.fromCsv(await file.text());
    drawCounts();
    filter();
    look(focus);
    say(`Loaded ${taken} decisions${others ? `; ${others} lines name pictures that are not in this gallery` : ""}.`);
  } catch (error) {
    say(`Cannot use ${file.name}. ${error.message}`);
  }
}

function toggleMap() {
  mapOn = !mapOn;
  drawCard();
}

const ACTS = {
  accept: () => rows[focus].suggested >= 0 ? decide(rows[focus].suggested) : say("There is no suggestion."),
  keep: () => decide(rows[focus].given),
  drop: () => decide(DROP),
  undo, save,
  map: toggleMap,
  previous: () => move(-1),
  next: () => move(1),
  help: () => $("keys").showModal(),
  load: () => $("file").click(),
};
const KEYS = {
  a: ACTS.accept, k: ACTS.keep, d: ACTS.drop, u: undo, m: toggleMap, s: save, "?": ACTS.help,
  ArrowLeft: ACTS.previous, j: ACTS.previous, ArrowRight: ACTS.next, l: ACTS.next,
  ArrowUp: () => move(-grid.columns), ArrowDown: () => move(grid.columns),
};

function press(event) {
  const { target } = event;
  const theirs = target.closest("select, dialog") || (target.closest("input") && event.key.startsWith("Arrow"));
  if (theirs || event.ctrlKey || event.metaKey || event.altKey) return;
  const label = /^[1-9]$/.test(event.key) ? Number(event.key) - 1 : -1;
  const act = label >= 0 && label < classes.length ? () => decide(label) : KEYS[event.key];
  if (act === undefined) return;
  event.preventDefault();
  act();
}

function fillChoices() {
  const option = (value, text) => Object.assign(element("option", "", text), { value });
  for (const role of ["given", "suggested"]) {
    const counts = classes.map((_, label) => rows.filter((row) => row[role] === label).length);
    const found = classes.map((name, label) => option(label, `${name} (${counts[label]})`));
    $(`filter-${role}`).append(option("", "any"), ...found.filter((_, label) => counts[label]));
  }
  $("filter-status").append(option("", "any"), ...Object.entries(STATUS).map((pair) => option(...pair)));
}

function start() {
  document.title = audit.title;
  $("title").textContent = audit.title;
  if (rows.length === 0) {
    document.querySelectorAll("header .buttons, .progress").forEach((part) => { part.hidden = true; });
    $("nothing").hidden = false;
    return;
  }
  $("main").hidden = false;
  fillChoices();
  drawCounts();
  filter();
  look(shown.find((number) => decisions.action(number) === "undecided") ?? 0);
  for (const [id, act] of Object.entries(ACTS)) $(id).addEventListener("click", act);
  document.addEventListener("keydown", press);
  $("filters").addEventListener("input", refilter);
  // A list of choices that keeps the focus would take the next key for its own.
  $("filters").addEventListener("change", () => {
    refilter();
    $("tiles").focus({ preventScroll: true });
  });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("show-all").addEventListener("click", () => {
    $("filters").reset();
    refilter();
  });
  $("file").addEventListener("change", (event) => {
    if (event.target.files.length) load(event.target.files[0]);
    event.target.value = "";
  });
}

start();
