// The service's HTTP API, for the page. Every failure becomes an Error whose message can be shown.

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
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached. Is it still running?");
  }
}

async function readJson(response) {
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  throw new Error(answer?.error?.message ?? `The server answered with status ${response.status}.`);
}
