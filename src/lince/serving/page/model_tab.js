// The model's tab: what is served, in words and figures instead of raw JSON.

import { drawCurves } from "./curves.js";
import { className, date, exactPercent, hasText, inLanguage, number, percent, signed, text } from "./texts.js";
import { element, part, showClasses } from "./view.js";

export function showModels(names, chosen) {
  element("switch").hidden = names.length < 2;
  element("models").replaceChildren(...names.map((name) => {
    return Object.assign(part("option", "", name), { value: name, selected: name === chosen });
  }));
}

export function showDescription(model) {
  const { name, version, created, image, certificate, verdict, pretrained, curves, card } = model;
  const parts = [part("h2", "", name), part("p", "quiet", text("page.model.version", { version, date: date(created) }))];
  if (verdict) parts.push(section("page.model.verdict", ...verdict.findings.flatMap(finding)));
  parts.push(section("page.model.classes", ...classes(model)));
  const size = { width: image.width, height: image.height };
  parts.push(section("page.model.picture", part("p", "", text(`page.model.resize.${image.resize}`, size))));
  parts.push(section("page.model.probability", part("p", "", probability(model))));
  if (certificate) parts.push(section("page.model.certificate", ...certified(certificate, model.classes)));
  if (curves.length > 1) parts.push(section("page.model.curves", ...drawCurves(curves)));
  if (pretrained) parts.push(section("page.model.pretrained", english("p", `${pretrained.source}. ${pretrained.data}. ${pretrained.licence}`)));
  const details = part("details");
  details.append(part("summary", "", text("page.model.card")), english("pre", card));
  parts.push(details, links());
  element("description").replaceChildren(...parts);
}

function section(key, ...nodes) {
  const node = part("section", "stack");
  node.append(part("h3", "", text(key)), ...nodes);
  return node;
}

/** What was found, and the sentence that says more: English in models of older versions. */
function finding({ code, sentence, translations }) {
  const [key, translated] = [`page.verdict.${code}`, inLanguage(translations)];
  return [...(hasText(key) ? [part("strong", "", text(key))] : []), translated ? part("p", "", translated) : english("p", sentence)];
}

function english(name, content) {
  return Object.assign(part(name, "", content), { lang: "en" });
}

function classes(model) {
  const [list, button] = [part("ul", "chips"), part("button", "link")];
  const draw = (all) => showClasses(list, button, model.classes, all);
  draw(false);
  button.addEventListener("click", () => draw(button.ariaExpanded === "false"));
  return [list, button];
}

function probability({ calibration: { n, coverage, set_threshold } }) {
  if (n === 0) return text("page.model.probability.none");
  const share = percent(coverage);
  const sets = set_threshold === null ? text("page.set.none", { count: n, coverage: share }) : text("page.model.sets", { coverage: share });
  return `${text("page.model.probability.means", { count: n })} ${sets}`;
}

function certified({ comparison, bound_points, flatbuffer_bytes, latency_us, machine, forced }, labels) {
  const { n, float_accuracy, int8_accuracy, drop_points, disagreement, worst_class, worst_class_drop_points, calibrated_ece } = comparison;
  const points = (value) => text("page.points", { value: number(value, 2) });
  const outcome = forced ? "forced" : drop_points.high <= bound_points ? "passed" : "open";
  const rows = [
    ["images", number(n)],
    ["float", exactPercent(float_accuracy)],
    ["int8", exactPercent(int8_accuracy)],
    ["difference", text("page.certificate.interval", { value: signed(-drop_points.value), low: signed(-drop_points.high), high: signed(-drop_points.low) })],
    ["bound", `${points(bound_points)}: ${text(`page.certificate.${outcome}`)}`],
    ["different", exactPercent(disagreement)],
    ["worst", worst_class_drop_points > 0 ? `${className(worst_class, labels)}, ${points(worst_class_drop_points)}` : "–"],
    ["calibration", exactPercent(calibrated_ece)],
    ["size", `${number(flatbuffer_bytes / 1e6, 2)}\u00a0MB`],
    ["latency", `${number(latency_us / 1000, 2)}\u00a0ms`],
    ["machine", machine],
  ];
  const list = part("dl", "facts");
  for (const [key, value] of rows) {
    const row = part("div");
    row.append(part("dt", "", text(`page.certificate.${key}`)), part("dd", "", value));
    list.append(row);
  }
  return [part("p", "", text("page.certificate.what")), list];
}

function links() {
  const node = part("p", "links");
  for (const [key, href] of [["page.docs", "docs"], ["page.metrics", "metrics"]]) {
    node.append(Object.assign(part("a", "", text(key)), { href }), " ");
  }
  return node;
}
