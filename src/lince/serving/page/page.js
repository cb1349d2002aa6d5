// The page: pictures and camera frames go to the service, and its answers are shown. READ THIS FIRST.

import { Camera, isPossible } from "./camera.js";
import { showDescription, showModels } from "./model_tab.js";
import { Failure, classify, correct, deleteCorrection, describeModel, explain, listModels, useKey } from "./service.js";
import { number, preferredLanguage, remember, text, useLanguage } from "./texts.js";
import * as view from "./view.js";

const { element } = view;
const MOST = 30; // pictures of a visit; the oldest go first
const RATE_OVER_MS = 2000;

const camera = new Camera(element("video"));
let model = null; // what /model said; asked again until it answers
let models = [];
let chosenModel = null; // its name; null for the default
let items = []; // { blob, url, answer, failure, explanation, correction }: this visit's pictures
let current = null;
let failure = null; // of the page as a whole: what waits is asked again after it
let live = null; // while the camera is on: { frame, answer, times }
let note = null; // key of what is said about the camera
let working = null; // an AbortController while pictures are being answered
let described = {}; // what the model's tab shows
let allBars = false;
let allClasses = false;

const waits = (item) => item.answer === null && item.failure === null;

async function readModel() {
  if (model !== null) return;
  const [found, names] = await Promise.all([describeModel(chosenModel), listModels().catch(() => [])]);
  [model, models] = [found, names];
}

/** Answers the pictures that wait, one after the other. A restart drops what is under way. */
async function work({ restart = false } = {}) {
  if (working !== null && !restart) return;
  working?.abort();
  const { signal } = (working = new AbortController());
  failure = null;
  try {
    while (model === null || items.some(waits)) {
      await readModel();
      if (signal.aborted) return;
      render();
      const item = items.find(waits);
      if (item) await ask(item, signal);
      if (signal.aborted) return;
    }
    working = null;
  } catch (error) {
    if (signal.aborted) return;
    working = null;
    fail(error);
  }
  render();
}

async function ask(item, signal) {
  try {
    const limit = model.limits.max_body_bytes;
    if (item.blob.size > limit) {
      throw new Failure("too_large", { values: { size: number(item.blob.size), limit: number(limit) } });
    }
    item.answer = await classify(item.blob, { model: chosenModel, top: model.classes.length, signal });
  } catch (error) {
    const isOfPicture = error instanceof Failure && error.code !== "unauthorized" && error.retryAfter === null;
    if (!isOfPicture) throw error;
    item.failure = error;
  }
}

/** Shows what went wrong with the page as a whole. */
function fail(error) {
  failure = error instanceof Failure ? error : new Failure("other", { detail: String(error) });
  if (failure.code === "unauthorized") element("key-form").hidden = false;
}

/** Takes pictures into the visit, and shows the first of them. */
function look(blobs) {
  camera.stop();
  note = null;
  const added = blobs.slice(0, MOST).map((blob) => {
    return { blob, url: URL.createObjectURL(blob), answer: null, failure: null, explanation: null, correction: null };
  });
  items = [...items, ...added];
  for (const old of items.splice(0, items.length - MOST)) URL.revokeObjectURL(old.url);
  choose(added[0]);
  work({ restart: failure !== null });
}

function choose(item) {
  current = item;
  allBars = false;
  render();
}

function lookAtFiles(files, code) {
  if (files.length > 0) return look([...files]);
  fail(new Failure(code));
  render();
}

// What is shown: of the camera while it is on, otherwise of the current picture.

function render() {
  const item = live === null ? current : null;
  element("intro").hidden = live !== null || current !== null;
  element("another").hidden = live !== null || current === null;
  element("camera").textContent = text(live === null ? "page.camera.start" : "page.camera.stop");
  element("camera-note").hidden = note === null;
  element("camera-note").textContent = note === null ? "" : text(note);
  if (model === null) {
    view.showFailure(failure);
    if (item) view.showPicture(item.url, { width: 1, height: 1, resize: "crop" }, () => {});
    return;
  }
  view.showModel(model, { allClasses });
  renderModel();
  view.showStrip(items, current, { choose, model });
  if (item) view.showPicture(item.url, model.image, () => view.showReason(item.explanation, model));
  renderAnswer();
  if (item?.answer && !item.wasSeen) {
    item.wasSeen = true;
    bringIntoView("answer"); // below the picture on a narrow screen
  }
}

function bringIntoView(id) {
  const { top } = element(id).getBoundingClientRect();
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (top < 0 || top > innerHeight * 0.75) element(id).scrollIntoView({ block: "center", behavior: calm ? "instant" : "smooth" });
}

function renderModel() {
  const { lang } = document.documentElement;
  if (described.model === model && described.lang === lang) return; // it may be read just now
  described = { model, lang };
  showModels(models, model.name);
  showDescription(model);
}

function renderAnswer() {
  const item = live === null ? current : null;
  const answer = (live ?? current)?.answer ?? null;
  const shown = failure ?? item?.failure ?? null;
  view.showFailure(shown);
  view.showAnswer(answer, model, { isWaiting: shown === null && item !== null && waits(item), allBars });
  element("why").hidden = !item?.answer || model.classes.length < 2;
  view.showCorrection(item, model);
  element("answer").ariaLive = live === null ? "polite" : "off"; // nobody can listen to 20 answers a second
  element("rate").textContent = live === null ? "" : text("page.camera.rate", { rate: number(rate(live.times)) });
}

// The camera.

const rate = (times) => (times.length * 1000) / RATE_OVER_MS;

async function startCamera() {
  note = null;
  element("camera").disabled = true;
  try {
    await readModel();
    const side = Math.max(model.image.width, model.image.height);
    await camera.start({ side, answer: answerFrame, end: endCamera });
    live = { frame: null, answer: null, times: [] };
    view.reveal("video");
    element("heat").hidden = true;
    const { videoWidth: width, videoHeight: height } = element("video");
    element("drop").style.setProperty("--shape", width / height);
  } catch (error) {
    camera.stop();
    if (error instanceof Failure) fail(error);
    else note = error.name === "NotAllowedError" ? "page.camera.refused" : "page.camera.none";
  }
  element("camera").disabled = false;
  render();
}

async function answerFrame(frame, canvas) {
  try {
    const top = allBars ? model.classes.length : Math.min(5, model.classes.length);
    const answer = await classify(frame, { model: chosenModel, top });
    if (!camera.isOn) return;
    failure = null;
    const now = performance.now();
    const times = [...live.times.filter((time) => now - time < RATE_OVER_MS), now];
    live = { frame, answer, times };
    view.showPixels(canvas, canvas.width, canvas.height, model.image);
  } catch (error) {
    fail(error);
    if (failure.retryAfter === null) camera.stop();
    else await new Promise((resolve) => setTimeout(resolve, 1000 * failure.retryAfter));
  }
  if (camera.isOn) renderAnswer();
}

function endCamera() {
  live = null;
  if (current === null) {
    view.reveal("invitation");
    element("seen").hidden = true;
  }
  render();
}

/** Stops, and keeps the last frame as a picture. */
function stopCamera() {
  const { frame } = live;
  camera.stop();
  if (frame !== null) look([frame]);
}

element("camera").addEventListener("click", () => (live === null ? startCamera() : stopCamera()));
element("camera").hidden = !isPossible;

function releaseCamera() {
  if (!camera.isOn) return;
  camera.stop();
  note = "page.camera.hidden";
}

document.addEventListener("visibilitychange", () => document.hidden && releaseCamera());
addEventListener("pagehide", releaseCamera);

// Pictures: chosen, pasted, dropped, or a sample.

element("file").addEventListener("change", ({ target }) => {
  if (target.files.length > 0) look([...target.files]);
  target.value = ""; // so that choosing the same file again asks again
});

element("another").addEventListener("click", () => element("file").click());

document.addEventListener("paste", (event) => {
  if (event.target instanceof HTMLInputElement) return;
  lookAtFiles(event.clipboardData.files, "nothing_pasted");
});

// The whole page takes a drop: missing the field would make the browser leave for the picture.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  element("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) element("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  element("drop").classList.remove("over");
  lookAtFiles(event.dataTransfer.files, "nothing_dropped");
});

for (const sample of document.querySelectorAll("[data-sample]")) {
  sample.addEventListener("click", async () => {
    try {
      look([await (await fetch(sample.querySelector("img").src)).blob()]);
      element("another").focus();
    } catch {
      fail(new Failure("unreachable", { retryAfter: 1 }));
      render();
    }
  });
}

// The answer: all classes, why, a correction.

element("all-bars").addEventListener("click", () => {
  allBars = !allBars;
  renderAnswer();
});

element("explain").addEventListener("click", async () => {
  const item = current;
  if (item.explanation !== null) {
    item.explanation = null;
    return render();
  }
  element("explain").disabled = true;
  element("reason").textContent = text("page.why.working");
  try {
    item.explanation = await explain(item.blob, { model: chosenModel });
  } catch (error) {
    element("reason").replaceChildren();
    fail(error);
  }
  element("explain").disabled = false;
  render();
  bringIntoView("drop");
});

element("correction").addEventListener("submit", (event) => {
  event.preventDefault();
  const label = element("right").value;
  change(async (item) => {
    item.correction = await correct(item.blob, { model: chosenModel, label });
  }, "take-back");
});

element("take-back").addEventListener("click", () => {
  change(async (item) => {
    await deleteCorrection(item.correction.id);
    Object.assign(item, { correction: null, wasDeleted: true });
  }, "right");
});

/** Stores or deletes a correction of the current picture; then its button is hidden, and another part gets the focus. */
async function change(store, next) {
  const item = current;
  try {
    await store(item);
    failure = null;
  } catch (error) {
    fail(error);
  }
  renderAnswer();
  if (failure === null) element(next).focus();
}

// The rest: key, model, language, tabs.

element("again").addEventListener("click", () => work({ restart: true }));

element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(element("key").value.trim());
  element("key").value = "";
  element("key-form").hidden = true;
  failure = null;
  view.showFailure(null);
  work({ restart: true });
});

element("models").addEventListener("change", ({ target }) => {
  camera.stop();
  chosenModel = target.value;
  model = null;
  for (const item of items) Object.assign(item, { answer: null, failure: null, explanation: null, correction: null });
  work({ restart: true });
});

element("all-known").addEventListener("click", () => {
  allClasses = !allClasses;
  render();
});

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", async () => {
    remember(button.dataset.language);
    await useLanguage(button.dataset.language);
    render();
  });
}

const tabs = [...document.querySelectorAll("[role=tab]")];

function open(tab) {
  for (const one of tabs) {
    one.ariaSelected = String(one === tab);
    one.tabIndex = one === tab ? 0 : -1;
    element(one.getAttribute("aria-controls")).hidden = one !== tab;
  }
  tab.focus();
}

for (const [index, tab] of tabs.entries()) {
  tab.addEventListener("click", () => open(tab));
  tab.addEventListener("keydown", ({ key }) => {
    if (key === "ArrowRight" || key === "ArrowLeft") open(tabs[1 - index]);
  });
}

await useLanguage(preferredLanguage());
if (!isPossible) note = "page.camera.insecure";
render();
work();
