// What was decided, in the order in which it was: the one thing that the browser keeps. A decision is a pair of
// row number and class number; everything else follows from it.

const DROP = -1;
const COLUMNS = ["path", "label", "action", "given"];
const STATUS = { undecided: "undecided", accept: "accepted", keep: "kept", change: "changed", drop: "dropped" };

class Decisions {
  constructor(audit) {
    this.rows = audit.rows;
    this.classes = audit.classes;
    this.key = `label-gallery:${audit.id}`;
    this.kept = true;
    this.replay(this.stored());
  }

  stored() {
    try {
      return JSON.parse(localStorage.getItem(this.key)) ?? [];
    } catch {
      return [];
    }
  }

  replay(history) {
    this.history = history;
    this.label = new Map(history);
  }

  store() {
    try {
      localStorage.setItem(this.key, JSON.stringify(this.history));
      this.kept = true;
    } catch {
      this.kept = false;
    }
  }

  decide(number, label) {
    this.history.push([number, label]);
    this.label.set(number, label);
    this.store();
  }

  /** Takes the last decision back and returns the row that it was about, or undefined. */
  undo() {
    const last = this.history.pop();
    if (last === undefined) return undefined;
    this.replay(this.history);
    this.store();
    return last[0];
  }

  action(number) {
    const label = this.label.get(number);
    if (label === undefined) return "undecided";
    if (label === DROP) return "drop";
    const { given, suggested } = this.rows[number];
    if (label === given) return "keep";
    return label === suggested ? "accept" : "change";
  }

  counts() {
    const counts = Object.fromEntries(Object.keys(STATUS).map((action) => [action, 0]));
    for (const number of this.label.keys()) counts[this.action(number)] += 1;
    counts.undecided = this.rows.length - this.label.size;
    return counts;
  }

  toCsv() {
    const decided = [...this.label.keys()].sort((a, b) => a - b);
    const lines = decided.map((number) => {
      const { path, given } = this.rows[number];
      return [path, this.classes[this.label.get(number)] ?? "", this.action(number), this.classes[given]];
    });
    return formatCsv([COLUMNS, ...lines]);
  }

  /** Takes over what a file says of these faces; returns how many it names, and how many it names beside them. */
  fromCsv(text) {
    const [header, ...lines] = parseCsv(text);
    const at = Object.fromEntries(COLUMNS.map((name) => [name, (header ?? []).indexOf(name)]));
    if (at.path < 0 || at.label < 0) throw new Error("Expected a file with the columns path and label.");
    const numbers = new Map(this.rows.map((row, number) => [row.path, number]));
    const read = [];
    let others = 0;
    for (const line of lines) {
      const number = numbers.get(line[at.path]);
      const label = line[at.action] === "drop" ? DROP : this.classes.indexOf(line[at.label]);
      if (number === undefined) others += 1;
      else if (label === -1 && line[at.action] !== "drop") {
        throw new Error(`“${line[at.label]}”, the label of ${line[at.path]}, is none of the classes.`);
      } else if (line[at.given] && line[at.given] !== this.classes[this.rows[number].given]) {
        throw new Error(`The file was made for other labels: ${line[at.path]} is given as “${line[at.given]}” there.`);
      } else read.push([number, label]);
    }
    this.replay([...this.history, ...read]);
    this.store();
    return { taken: read.length, others };
  }
}
