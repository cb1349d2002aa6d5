// The service's HTTP API, for the page. Every failure becomes a Failure, whose code chooses what is shown.

const KEY = "lince-api-key"; // in sessionStorage: it is gone when the tab is closed
const BUSY = [429, 503];

/** Why there is no answer: a `code` of the API, or "unreachable"; what the server says; seconds to wait, or null. */
export class Failure extends Error {
  constructor(code, { detail = "", retryAfter = null, values = {} } = {}) {
    super(code);
    Object.assign(this, { code, detail, retryAfter, values });
  }
}

export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** Names of the models, the default first. */
export async function listModels() {
  return (await readJson(await reach("v2/models"))).models;
}

/** What a model is; the default one for null. */
export async function describeModel(name) {
  return readJson(await reach(`model${query({ model: name })}`));
}

/** Classifies one image (a Blob): `prediction`, and `milliseconds` of the server. */
export async function classify(image, { model, top, signal }) {
  const response = await send("predict", { top, timing: true, model }, image, signal);
  const { predictions } = await readJson(response);
  const spent = /total;dur=([\d.]+)/.exec(response.headers.get("server-timing"));
  return { prediction: predictions[0], milliseconds: spent && Number(spent[1]) };
}

/** What in the image supports a class. */
export async function explain(image, { model, label, signal }) {
  return readJson(await send("explain", { class: label, model }, image, signal));
}

/** Stores the image under its right class. */
export async function correct(image, { model, label }) {
  return readJson(await send("feedback", { label, model }, image));
}

/** Deletes a correction. */
export async function deleteCorrection(id) {
  const response = await reach(`feedback/${id}`, { method: "DELETE" });
  if (!response.ok) await readJson(response);
}

function send(path, parameters, image, signal) {
  // Never the browser's guess of the type: the server looks at the bytes, and says what it found.
  const headers = { "Content-Type": "application/octet-stream" };
  return reach(path + query(parameters), { method: "POST", headers, body: image, signal });
}

function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value != null);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

async function reach(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("unreachable", { retryAfter: 1 });
  }
}

async function readJson(response) {
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  const { status } = response;
  const retryAfter = BUSY.includes(status) ? Number(response.headers.get("retry-after") ?? 1) : null;
  const code = status === 401 ? "unauthorized" : (answer?.error?.code ?? "other");
  throw new Failure(code, { detail: answer?.error?.message, retryAfter, values: { status } });
}
