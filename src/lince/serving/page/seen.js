// What the network sees of a picture, and the heat map over it. `image` is that of /model: width, height, resize.

const GREY = "rgb(128 128 128)"; // the bars of "pad"
const FOR = [213, 94, 0]; // the colours of lince explain, which people with any colour blindness can tell apart
const AGAINST = [0, 114, 178];
const OPACITY = 0.75; // of the strongest place
const HEAT_PIXELS = 512; // of the longer side

/** Where the network's image lies in a picture of this size; for "pad" it reaches beyond the picture. */
export function seenRectangle(width, height, { resize, width: seenWidth, height: seenHeight }) {
  if (resize === "stretch") return { left: 0, top: 0, width, height };
  const ratio = seenWidth / seenHeight;
  const choose = resize === "crop" ? Math.min : Math.max;
  const [across, down] = [choose(width, height * ratio), choose(height, width / ratio)];
  return { left: (width - across) / 2, top: (height - down) / 2, width: across, height: down };
}

/** Draws the network's pixels, as the browser resizes them: the server's own may differ by a few grey levels. */
export function drawPixels(canvas, source, width, height, image) {
  const seen = seenRectangle(width, height, image);
  canvas.width = image.width;
  canvas.height = image.height;
  const pen = canvas.getContext("2d");
  pen.fillStyle = GREY;
  pen.fillRect(0, 0, image.width, image.height);
  pen.imageSmoothingQuality = "high";
  pen.scale(image.width / seen.width, image.height / seen.height);
  pen.translate(-seen.left, -seen.top);
  pen.fillStyle = "white"; // under transparent pixels
  pen.fillRect(0, 0, width, height);
  pen.drawImage(source, 0, 0, width, height);
}

/** Draws a heat map for a canvas that lies over the whole picture. */
export function drawHeat(canvas, { rows, columns, values }, width, height, image) {
  const seen = seenRectangle(width, height, image);
  const scale = HEAT_PIXELS / Math.max(width, height);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  const strongest = Math.max(...values.flat().map(Math.abs), Number.MIN_VALUE);
  const x = (column) => Math.round((seen.left + (seen.width * column) / columns) * scale);
  const y = (row) => Math.round((seen.top + (seen.height * row) / rows) * scale);
  values.forEach((cells, row) => cells.forEach((heat, column) => {
    const [red, green, blue] = heat > 0 ? FOR : AGAINST;
    pen.fillStyle = `rgb(${red} ${green} ${blue} / ${(OPACITY * Math.abs(heat)) / strongest})`;
    pen.fillRect(x(column), y(row), x(column + 1) - x(column), y(row + 1) - y(row));
  }));
}
