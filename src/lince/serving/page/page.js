// The page: choose, drop or paste a picture; ask the server; show what it says.

import { KeyNeeded, classify, describeModel, useKey } from "./service.js";
import { clear, showAnswer, showError, showModel, showPicture, showWaiting } from "./view.js";

const drop = document.getElementById("drop");
const input = document.getElementById("file");
const keyForm = document.getElementById("key-form");
let model = null; // what /model said; asked again until it answers
let asking = new AbortController();
let waiting = null; // the picture that was chosen before the server asked for a key

async function readModel() {
  if (model === null) {
    model = await describeModel();
    showModel(model);
  }
  return model;
}

async function look(image) {
  asking.abort(); // only the last picture counts
  asking = new AbortController();
  const { signal } = asking;
  showPicture(image);
  showWaiting();
  try {
    const described = await readModel();
    const limit = described.limits.max_body_bytes;
    if (image.size > limit) {
      throw new Error(`The picture has ${image.size.toLocaleString()} bytes. At most ${limit.toLocaleString()} are read: scale it down.`);
    }
    const answer = await classify(image, { classes: described.classes.length, signal });
    if (!signal.aborted) showAnswer(answer, described);
  } catch (error) {
    if (!signal.aborted) fail(error, image);
  }
}

function fail(error, image) {
  showError(error.message);
  if (error instanceof KeyNeeded) {
    waiting = image;
    keyForm.hidden = false;
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
  if (waiting) look(waiting);
  else start();
});

function start() {
  readModel().catch((error) => fail(error, null));
}

start();
