// The page: choose, drop or paste a picture; ask the server; show what it says.

import { KeyNeeded, classify, describeModel, useKey } from "./service.js";
import { clear, showAnswer, showError, showModel, showPicture, showWaiting } from "./view.js";

const drop = document.getElementById("drop");
const input = document.getElementById("file");
const keyForm = document.getElementById("key-form");
let model = null; // what /model said; asked again until it answers
let picture = null; // the last that was chosen: asked again when the server has been given a key
let asking = new AbortController();

async function readModel() {
  if (model === null) {
    model = await describeModel();
    showModel(model);
  }
  return model;
}

function look(image) {
  picture = image;
  showPicture(image);
  showWaiting();
  ask();
}

/** What the model is, and what it says of the chosen picture. Only the last question's answer is shown. */
async function ask() {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  try {
    const described = await readModel();
    if (picture === null || signal.aborted) return;
    const limit = described.limits.max_body_bytes;
    if (picture.size > limit) {
      throw new Error(`The picture has ${picture.size.toLocaleString()} bytes. At most ${limit.toLocaleString()} are read: scale it down.`);
    }
    const answer = await classify(picture, { classes: described.classes.length, signal });
    if (!signal.aborted) showAnswer(answer, described);
  } catch (error) {
    if (signal.aborted) return;
    showError(error.message);
    if (error instanceof KeyNeeded) keyForm.hidden = false;
  }
}

function lookAtFirst(files, missing) {
  if (files.length > 0) look(files[0]);
  else showError(missing);
}

input.addEventListener("change", () => {
  if (input.files.length > 0) look(input.files[0]);
  input.value = ""; // so that choosing the same file again asks again
});

document.addEventListener("paste", (event) => {
  lookAtFirst(event.clipboardData.files, "There is no picture in the clipboard. Copy one, then paste it here.");
});

// The whole page takes a drop: missing the field would make the browser leave for the picture.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  lookAtFirst(event.dataTransfer.files, "That was not a file. Save the picture first, then drop it here.");
});

keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const field = document.getElementById("key");
  useKey(field.value.trim());
  field.value = "";
  keyForm.hidden = true;
  clear();
  ask();
});

ask();
