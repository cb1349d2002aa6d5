// What the page shows. Text from outside goes in through textContent only.

const element = (id) => document.getElementById(id);
const SMALL_PIXELS = 128; // below this, a picture is shown as the squares it is made of, and not blurred

export function showModel(model) {
  element("model").textContent = `${model.name} · ${model.version}`;
  const megabytes = Math.floor(model.limits.max_body_bytes / 2 ** 20);
  element("formats").textContent = `${model.limits.formats.join(", ")}, up to ${megabytes} MB`;
  const { width, height, resize } = model.image;
  element("drop").classList.toggle("crops", resize === "crop");
  element("drop").style.setProperty("--seen", width / height);
}

export function showPicture(image) {
  const preview = element("preview");
  URL.revokeObjectURL(preview.src);
  preview.onload = () => {
    preview.classList.toggle("small", Math.max(preview.naturalWidth, preview.naturalHeight) < SMALL_PIXELS);
    element("drop").style.setProperty("--shape", preview.naturalWidth / preview.naturalHeight);
    reveal(preview);
  };
  preview.onerror = () => reveal(element("invitation"));
  preview.src = URL.createObjectURL(image);
}

function reveal(shown) {
  for (const part of [element("preview"), element("invitation")]) part.hidden = part !== shown;
}

export function showWaiting() {
  clear();
  element("waiting").textContent = "Looking …";
  element("waiting").hidden = false;
}

export function showError(message) {
  clear();
  element("error").textContent = message;
  element("error").hidden = false;
}

export function showAnswer(answer, model) {
  clear();
  const guess = `${answer.label}, ${percent(answer.probability)}`;
  element("label").textContent = answer.abstain ? "I don’t know" : answer.label;
  element("explanation").textContent = answer.abstain
    ? `Too unsure to say. The best guess is ${guess}.`
    : `${percent(answer.probability)} sure.`;
  element("verdict").hidden = false;
  const members = answer.prediction_set ?? []; // null: too few images to promise anything
  element("bars").replaceChildren(...answer.top.map((entry) => bar(entry, members.includes(entry.label))));
  showLegend(members, model.calibration);
}

function showLegend(labels, calibration) {
  const legend = element("legend");
  legend.hidden = calibration.n === 0; // never calibrated: the set promises nothing
  const share = percent(calibration.coverage);
  const images = `${calibration.n.toLocaleString("en")} validation image${calibration.n === 1 ? "" : "s"}`;
  legend.textContent = labels.length
    ? `${listed(labels)}. Such a set holds the right answer for ${share} of pictures like those the model was trained on. It was fitted on ${images}.`
    : `No set of classes is named: ${images} ${calibration.n === 1 ? "is" : "are"} too few to promise ${share}.`;
}

function bar({ label, probability }, member) {
  const row = document.createElement("li");
  row.classList.toggle("member", member);
  const track = part("span", "track");
  const fill = part("div", "fill");
  fill.style.setProperty("--share", probability);
  track.append(fill);
  row.append(part("span", "name", label), track, part("span", "share", percent(probability)));
  return row;
}

function part(name, className, text = "") {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text;
  return node;
}

export function clear() {
  for (const id of ["error", "verdict", "waiting", "legend"]) element(id).hidden = true;
  element("bars").replaceChildren();
}

function listed(labels) {
  return labels.length < 2 ? labels.join("") : `${labels.slice(0, -1).join(", ")} or ${labels.at(-1)}`;
}

/** 0.934 → "93 %"; never "100 %" or "0 %": floating point rounds some probabilities to 0 and 1. */
function percent(share) {
  const value = share * 100;
  if (value < 0.1) return "< 0.1\u00a0%";
  if (value > 99.9) return "> 99.9\u00a0%";
  return `${value.toFixed(value < 10 || value > 99 ? 1 : 0).replace(/\.0$/, "")}\u00a0%`;
}
