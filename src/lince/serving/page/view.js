// What the page shows of a picture and its answer. Text from outside goes in through textContent only.

import { drawHeat, drawPixels } from "./seen.js";
import { className, hasText, listed, number, percent, text } from "./texts.js";

const SMALL_PIXELS = 128; // below this, a picture is shown as the squares it is made of, and not blurred
const BEST = 5; // classes with a bar before "show all"
const FIRST = 20; // classes that are named before "show all"

export const element = (id) => document.getElementById(id);

export function part(name, className, content = "") {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(content);
  return node;
}

function show(id, shown) {
  element(id).hidden = !shown;
}

/** The names of classes as chips, the first ones before "show all". */
export function showClasses(list, button, classes, all) {
  const names = classes.map((label) => className(label, classes));
  list.replaceChildren(...(all ? names : names.slice(0, FIRST)).map((name) => part("li", "", name)));
  showExpander(button, { all, count: names.length, first: FIRST });
}

/** A button for the rest of a list. */
function showExpander(button, { all, count, first }) {
  button.hidden = count <= first;
  button.ariaExpanded = String(all);
  button.textContent = all ? text("page.show_first", { total: number(first) }) : text("page.show_all", { total: number(count) });
}

/** What stands there before a picture is chosen, and around it. */
export function showModel(model, { allClasses }) {
  const { classes, limits, feedback } = model;
  element("knows").textContent = text("page.knows", { count: classes.length });
  showClasses(element("known"), element("all-known"), classes, allClasses);
  const samples = [...document.querySelectorAll("[data-sample]")];
  show("samples", samples.every((one) => classes.includes(one.dataset.sample)));
  const megabytes = Math.floor(limits.max_body_bytes / 2 ** 20);
  element("formats").textContent = text("page.formats", { formats: limits.formats.join(", "), megabytes: number(megabytes) });
  element("privacy").textContent = feedback
    ? text("page.privacy.feedback", { host: location.host, count: feedback.retention_days })
    : text("page.privacy", { host: location.host });
  const { width, height, resize } = model.image;
  element("drop").classList.toggle("crops", resize === "crop");
  element("drop").style.setProperty("--seen", width / height);
}

/** One of: the invitation, a picture, the camera, a note that the browser cannot show the file. */
export function reveal(shown) {
  for (const id of ["preview", "video", "unseen", "invitation"]) show(id, id === shown);
  if (shown !== "preview" && shown !== "video") element("drop").style.removeProperty("--shape");
}

/** Shows a picture, and calls `then` when the browser has read it. */
export function showPicture(url, image, then) {
  const preview = element("preview");
  show("heat", false);
  preview.classList.remove("grey");
  preview.alt = text("page.preview");
  if (preview.src === url && !preview.hidden) return then();
  preview.onload = () => {
    const { naturalWidth: width, naturalHeight: height } = preview;
    preview.classList.toggle("small", Math.max(width, height) < SMALL_PIXELS);
    element("drop").style.setProperty("--shape", width / height);
    reveal("preview");
    showPixels(preview, width, height, image);
    then();
  };
  preview.onerror = () => {
    reveal("unseen");
    show("seen", false);
  };
  preview.src = url;
}

export function showPixels(source, width, height, image) {
  drawPixels(element("pixels"), source, width, height, image);
  const size = { width: image.width, height: image.height };
  element("pixels").ariaLabel = text("page.seen.label", size);
  element("seen-caption").textContent = text("page.seen", size);
  show("seen", true);
}

/** The heat map over the picture, and what it says; without one, the picture alone. */
export function showReason(explanation, model) {
  const preview = element("preview");
  const isShown = Boolean(explanation) && !preview.hidden;
  show("heat", isShown);
  preview.classList.toggle("grey", isShown);
  element("explain").ariaPressed = String(Boolean(explanation));
  element("reason").replaceChildren();
  if (!explanation) return;
  const { label, probability, without_most, without_least } = explanation.explained;
  const name = className(label, model.classes);
  if (isShown) {
    drawHeat(element("heat"), explanation.heat, preview.naturalWidth, preview.naturalHeight, model.image);
    element("heat").ariaLabel = text("page.heat", { label: name });
  }
  const values = { label: name, before: percent(probability), most: percent(without_most), least: percent(without_least) };
  const legend = part("p", "scale");
  legend.append(part("span", "for"), text("page.heat.for", { label: name }), part("span", "against"), text("page.heat.against"));
  element("reason").append(legend, part("p", "", text("page.why.without", values)));
}

/** What a visit holds: a button for each picture. */
export function showStrip(items, current, { choose, model }) {
  const hasFocus = element("strip").contains(document.activeElement);
  show("strip", items.length > 1);
  element("strip").replaceChildren(...items.map((item, index) => {
    const button = part("button", "thumbnail");
    const image = part("img");
    image.onerror = () => button.replaceChildren(part("span", "blank", "?"));
    Object.assign(image, { src: item.url, alt: "", width: 56, height: 56 });
    button.append(image);
    button.ariaLabel = text("page.strip.one", { number: index + 1, answer: inShort(item, model) });
    if (item === current) button.ariaCurrent = "true";
    button.addEventListener("click", () => choose(item));
    const row = part("li");
    row.append(button);
    return row;
  }));
  if (hasFocus) element("strip").querySelector("[aria-current]")?.focus();
}

function inShort({ failure, answer }, model) {
  if (failure) return text("page.strip.failed");
  if (!answer) return text("page.looking");
  return answer.prediction.abstain ? text("page.not_sure") : className(answer.prediction.label, model.classes);
}

/** Says what went wrong; nothing for null. */
export function showFailure(failure) {
  show("error", failure !== null);
  if (failure === null) return;
  const key = `page.error.${failure.code}`;
  const seconds = number(failure.retryAfter ?? 0);
  element("error-text").textContent = text(hasText(key) ? key : "page.error.other", { status: "", seconds, ...failure.values });
  element("error-detail").textContent = failure.detail ?? "";
  show("error-detail", Boolean(failure.detail));
  show("again", failure.retryAfter !== null);
}

/** One answer, or that it is awaited. */
export function showAnswer(answer, model, { isWaiting, allBars }) {
  show("waiting", isWaiting);
  for (const id of ["verdict", "bars", "time"]) show(id, answer !== null);
  show("all-bars", false);
  if (answer === null) return;
  const { prediction, milliseconds } = answer;
  const name = className(prediction.label, model.classes);
  const share = percent(prediction.probability);
  element("label").textContent = prediction.abstain ? text("page.not_sure") : name;
  element("explanation").textContent = text(prediction.abstain ? "page.best_guess" : "page.sure", { label: name, share });
  showSet(prediction, model);
  showBars(prediction, model, allBars);
  show("time", milliseconds !== null);
  if (milliseconds !== null) element("time").textContent = text("page.time", { milliseconds: number(milliseconds, milliseconds < 10 ? 1 : 0) });
}

/** What the set promises: nothing where the model abstains, or was never calibrated. */
function showSet({ prediction_set: labels, abstain }, { calibration, classes }) {
  show("legend", calibration.n > 0 && !abstain);
  const coverage = percent(calibration.coverage);
  const names = listed((labels ?? []).map((label) => className(label, classes)));
  const kind = !labels ? "none" : labels.length === classes.length ? "all" : labels.length === 1 ? "single" : "several";
  element("legend").classList.toggle("marked", Boolean(labels));
  element("legend").textContent = text(`page.set.${kind}`, { coverage, names, ...(!labels && { count: calibration.n }) });
}

function showBars({ top, prediction_set, abstain }, { classes }, all) {
  const members = abstain ? null : prediction_set;
  const rows = all ? top : top.slice(0, BEST);
  element("bars").replaceChildren(...rows.map(({ label, probability }) => {
    const row = part("li", members?.includes(label) ? "member" : "");
    const track = part("span", "track");
    const fill = part("span", "fill");
    fill.style.setProperty("--share", probability);
    track.append(fill);
    row.append(part("span", "name", className(label, classes)), track, part("span", "share", percent(probability)));
    return row;
  }));
  showExpander(element("all-bars"), { all, count: classes.length, first: BEST });
}

/** The form for a wrong answer: the classes by their names. */
export function showCorrection(item, model) {
  const offers = Boolean(model.feedback && item?.answer && !item.correction);
  show("correction", offers);
  show("take-back", Boolean(item?.correction));
  element("corrected").textContent = item?.correction ? text("page.corrected", { id: item.correction.id }) : item?.wasDeleted ? text("page.corrected.deleted") : "";
  if (!offers) return;
  const { classes, feedback } = model;
  const drawn = `${item.url} ${document.documentElement.lang}`;
  if (element("right").dataset.drawn === drawn) return; // the visitor may be choosing
  element("right").dataset.drawn = drawn;
  element("correction-terms").textContent = text("page.wrong.terms", { count: feedback.retention_days });
  const named = classes.map((label) => [className(label, classes), label]);
  named.sort(([one], [other]) => one.localeCompare(other, document.documentElement.lang));
  const options = named.map(([name, label]) => Object.assign(part("option", "", name), { value: label }));
  element("right").replaceChildren(Object.assign(part("option"), { value: "" }), ...options);
}
