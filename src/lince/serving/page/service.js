// The service's HTTP API, for the page. Every failure becomes an Error whose message can be shown.

const KEY = "lince-api-key"; // in sessionStorage: it is gone when the tab is closed

/** The server wants a key, or another one. */
export class KeyNeeded extends Error {}

export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

export async function describeModel() {
  return readJson(await reach("model", {}));
}

/** Classifies one image (a Blob); lists every class. */
export async function classify(image, { classes, signal }) {
  const response = await reach(`predict?top=${classes}`, {
    method: "POST",
    // Never the browser's guess of the type: the server looks at the bytes, and says what it found.
    headers: { "Content-Type": "application/octet-stream" },
    body: image,
    signal,
  });
  return (await readJson(response)).predictions[0];
}

async function reach(path, options) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached. Is it still running?");
  }
}

async function readJson(response) {
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  if (response.status === 401) throw new KeyNeeded("This server needs an API key. Ask its operator for one.");
  throw new Error(answer?.error?.message ?? `The server answered with status ${response.status}.`);
}
