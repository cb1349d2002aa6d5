// The curves of a training: accuracy and loss, of the training and of the validation pictures.

import { exactPercent, number, text } from "./texts.js";
import { part } from "./view.js";

const [WIDTH, HEIGHT] = [320, 160]; // of the drawing, in units of its own; it is as wide as the page leaves room
const LINES = ["training", "validation"];

/** Two figures, and which line is which; `points` are those of `/model`, in order. */
export function drawCurves(points) {
  const figures = part("div", "curves");
  figures.append(
    figure("accuracy", points, ["accuracy", "val_accuracy"], (share) => exactPercent(share, 1)),
    figure("loss", points, ["loss", "val_loss"], (loss) => number(loss, 2)),
  );
  const legend = part("p", "lines");
  for (const name of LINES) legend.append(part("span", name), text(`page.curves.${name}`));
  return [figures, legend];
}

function figure(key, points, fields, written) {
  const values = points.flatMap((point) => fields.map((field) => point[field]));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [first, last] = [points[0].epoch, points.at(-1).epoch];
  const x = (point) => ((point.epoch - first) / (last - first || 1)) * WIDTH;
  const y = (value) => (1 - (value - low) / (high - low || 1)) * HEIGHT;
  const drawing = shape("svg", { viewBox: `-6 -6 ${WIDTH + 12} ${HEIGHT + 12}`, role: "img" });
  for (const value of [low, (low + high) / 2, high]) drawing.append(shape("path", { class: "grid", d: `M0 ${y(value)}H${WIDTH}` }));
  for (const [index, name] of LINES.entries()) {
    const places = points.map((point) => `${x(point)},${y(point[fields[index]])}`);
    drawing.append(shape("polyline", { class: name, points: places.join(" ") }));
  }
  const range = { first: number(first), last: number(last), low: written(low), high: written(high) };
  const sentences = [text("page.curves.range", range)];
  const kept = points.find((point) => point.is_kept);
  if (kept) {
    const value = kept[fields[1]];
    drawing.append(shape("circle", { class: "kept", cx: x(kept), cy: y(value), r: 5 }));
    sentences.push(text("page.curves.kept", { epoch: number(kept.epoch), value: written(value) }));
  }
  const title = text(`page.curves.${key}`);
  drawing.ariaLabel = [`${title}.`, ...sentences].join(" ");
  const caption = part("figcaption", "", part("strong", "", title));
  caption.append(...sentences.map((sentence) => part("span", "", sentence)));
  const node = part("figure", "", drawing);
  node.append(caption);
  return node;
}

function shape(name, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}
