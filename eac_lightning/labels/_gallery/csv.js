// RFC 4180. Every cell is quoted, so that any file name comes back letter by letter.

function formatCsv(rows) {
  const cell = (text) => `"${String(text).replaceAll('"', '""')}"`;
  return rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
}

function parseCsv(text) {
  const rows = [];
  let row = [];
  // A cell is quoted or plain, and a comma, the end of the line or the end of the text follows it.
  const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|\n|\r|$)/gy;
  text = text.replace(/^\uFEFF/, "");
  while (cell.lastIndex < text.length) {
    const start = cell.lastIndex;
    const match = cell.exec(text);
    if (match === null) throw new Error(`The file is no CSV table: see letter ${start + 1}.`);
    row.push(match[1] === undefined ? match[2] : match[1].replaceAll('""', '"'));
    if (match[3] !== ",") {
      rows.push(row);
      row = [];
    } else if (cell.lastIndex === text.length) row.push("");
  }
  if (row.length) rows.push(row);
  return rows;
}
