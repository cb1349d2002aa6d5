// The API's reference, drawn from /openapi.json: no scripts from elsewhere, so it works without a network.

const here = new URL(".", location.href);
document.getElementById("example").textContent = [
  `curl --data-binary @cat.png -H 'Content-Type: image/png' '${here}predict?top=3'`,
  `curl -F file=@cat.png -F file=@dog.jpg '${here}predict'`,
].join("\n");

const api = await (await fetch("openapi.json")).json();
document.getElementById("description").replaceWith(text("p", api.info.description));
const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => section(`${method.toUpperCase()} ${path}`, operation)),
);
document.getElementById("operations").replaceChildren(...operations);

function section(title, operation) {
  const node = document.createElement("section");
  node.className = "operation";
  node.append(text("h2", title), text("p", operation.description ?? operation.summary));
  if (operation.parameters) node.append(text("p", "Parameters"), list(operation.parameters.map(parameter)));
  if (operation.requestBody) node.append(text("p", "Body, one of"), list(Object.keys(operation.requestBody.content)));
  node.append(text("p", "Answers"), list(Object.entries(operation.responses).map(([status, { description }]) => `${status}: ${description}`)));
  return node;
}

function parameter({ name, schema, description }) {
  const type = schema.type ?? schema.anyOf.map((one) => one.type).filter((one) => one !== "null").join(" or ");
  const byDefault = schema.default === undefined ? "" : `, ${schema.default} by default`;
  return `${name} (${type}${byDefault}): ${description}`;
}

function list(lines) {
  const node = document.createElement("ul");
  node.append(...lines.map((line) => text("li", line)));
  return node;
}

function text(name, content) {
  const node = document.createElement(name);
  node.textContent = content.replaceAll("`", "");
  return node;
}
