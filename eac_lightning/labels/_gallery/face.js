// Small pieces of the page. Text of the audit enters only as text, never as markup.

const HEAT = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function picture(row) {
  if (row.face === null) return element("span", "missing", "no picture");
  const image = element("img");
  image.src = `data:image/webp;base64,${row.face}`;
  image.alt = "";
  image.draggable = false;
  return image;
}

/** Draws a map at its own few pixels; the style enlarges it and adds it to the face as light. */
function heatMap({ width, bytes }) {
  const values = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
  const canvas = element("canvas", "heat");
  canvas.width = width;
  canvas.height = values.length / width;
  const pixels = new ImageData(canvas.width, canvas.height);
  values.forEach((value, pixel) => {
    const place = (value / 255) * (HEAT.length - 1);
    const low = Math.min(Math.floor(place), HEAT.length - 2);
    const dim = 0.92 * Math.sqrt(value / 255); // faint evidence would lie over the face as a haze
    const color = HEAT[low].map((from, i) => dim * (from + (HEAT[low + 1][i] - from) * (place - low)));
    pixels.data.set([...color, 255], 4 * pixel);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

function percent(share) {
  return share === null ? "–" : `${Math.round(100 * share)} %`;
}

function download(name, text) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
