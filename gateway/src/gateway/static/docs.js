"use strict";
// Renders /openapi.json. No library, nothing loaded from elsewhere, text only ever set as text.

const element = (name, attributes = {}, ...children) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};

let api;

const resolve = (value) => {
  if (!value || !value.$ref) return value ?? {};
  const found = value.$ref.slice(2).split("/").reduce((node, key) => node[key], api);
  const { $ref, ...beside } = value;
  return { ...found, ...beside };
};

const operations = () =>
  Object.entries(api.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, operation]) => ({ path, verb: verb.toUpperCase(), ...operation })));

const typeName = (schema) => {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.type === "array") return `list of ${typeName(schema.items ?? {})}`;
  if (schema.type === "object" && typeof schema.additionalProperties === "object")
    return `map of ${typeName(schema.additionalProperties)}`;
  return [schema.type ?? "any", schema.format].filter(Boolean).join(", ");
};

const LIMITS = ["minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
  "minItems", "maxItems", "maxProperties", "pattern", "readOnly", "writeOnly"];

const limits = (schema) =>
  LIMITS.filter((key) => schema[key] !== undefined).map((key) => `${key} ${schema[key]}`).join(" · ");

const fieldsTable = (schema, depth) => {
  const table = element("table");
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const required = (schema.required ?? []).includes(name) ? " *" : "";
    const text = element("td", {}, property.description ?? resolve(property).description ?? "");
    const hint = limits(property);
    if (hint) text.append(element("div", { class: "muted" }, hint));
    const nested = resolve(property.type === "array" ? property.items : property);
    if (nested.enum) text.append(element("div", { class: "muted" }, nested.enum.join(" | ")));
    if (nested.properties && depth < 4) text.append(lazyTable(nested, depth));
    table.append(element("tr", {}, element("td", {}, element("code", {}, name + required)),
      element("td", { class: "muted" }, typeName(property)), text));
  }
  return table;
};

// Messages may contain themselves: a table is built when it is opened.
const lazyTable = (schema, depth) => {
  const details = element("details", {}, element("summary", {}, "fields"));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(fieldsTable(schema, depth + 1));
  });
  return details;
};

const parameterRow = (reference) => {
  const parameter = resolve(reference);
  return element("tr", {},
    element("td", {}, element("code", {}, parameter.name + (parameter.required ? " *" : ""))),
    element("td", { class: "muted" }, `${parameter.in}, ${typeName(parameter.schema)}`),
    element("td", {}, parameter.description ?? "", element("div", { class: "muted" }, limits(parameter.schema))));
};

const curl = (operation) => {
  const lines = [`curl -X ${operation.verb} '${location.origin}${operation.path}'`];
  if (!operation.security) lines.push("-H 'authorization: Bearer …'");
  const content = Object.keys(operation.requestBody?.content ?? {})[0];
  if (content) lines.push(`-H 'content-type: ${content}'`);
  if (content) lines.push(content === "application/json" ? "-d '{…}'" : "--data-binary @file");
  return lines.join(" \\\n  ");
};

const section = (main, title, ...nodes) => main.append(element("h3", {}, title), ...nodes);

const showSchema = (main, title, content) => {
  for (const [type, { schema }] of Object.entries(content ?? {})) {
    const resolved = resolve(schema);
    const note = element("p", { class: "muted" }, [type, typeName(schema)].join(" — "));
    section(main, title, note, fieldsTable(resolved, 0));
  }
};

const show = (operation) => {
  const main = document.getElementById("content");
  main.replaceChildren(
    element("h2", {}, operation.summary || operation.operationId),
    element("p", {}, element("span", { class: "verb" }, operation.verb), element("code", {}, operation.path)),
    element("p", {}, operation.description ?? ""));
  const permission = operation["x-permission"] ?? operation["x-access"];
  if (permission) main.append(element("p", { class: "muted" }, `Access: ${permission}`));
  main.append(element("pre", {}, curl(operation)));
  if (operation.parameters?.length)
    section(main, "Parameters", element("table", {}, ...operation.parameters.map(parameterRow)));
  showSchema(main, "Request", operation.requestBody?.content);
  showSchema(main, "Response", resolve(operation.responses["200"]).content);
  document.title = `${operation.operationId} – CRM API`;
};

const list = (words) => {
  const index = document.getElementById("index");
  const shown = operations().filter((operation) => {
    const text = `${operation.verb} ${operation.path} ${operation.summary} ${operation.tags}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const groups = Map.groupBy ? Map.groupBy(shown, (o) => o.tags[0]) : shown.reduce(
    (map, o) => map.set(o.tags[0], [...(map.get(o.tags[0]) ?? []), o]), new Map());
  index.replaceChildren();
  for (const [tag, members] of groups) {
    index.append(element("h2", {}, tag));
    for (const operation of members) {
      const link = element("a", { href: `#${operation.operationId}`, title: operation.summary },
        element("span", { class: "verb" }, operation.verb), operation.path);
      index.append(link);
    }
  }
};

const route = () => {
  const wanted = location.hash.slice(1);
  const operation = operations().find((candidate) => candidate.operationId === wanted);
  for (const link of document.querySelectorAll("#index a"))
    link.toggleAttribute("aria-current", link.getAttribute("href") === location.hash);
  if (operation) return show(operation);
  document.getElementById("content").replaceChildren(
    element("h2", {}, `${api.info.title} ${api.info.version}`),
    element("p", {}, api.info.description),
    element("p", {}, element("a", { href: "/openapi.json" }, "OpenAPI document")));
};

const start = async () => {
  const answer = await fetch("/openapi.json");
  api = await answer.json();
  const search = document.getElementById("search");
  search.addEventListener("input", () => list(search.value.toLowerCase().split(/\s+/)));
  list([]);
  addEventListener("hashchange", route);
  route();
};

start().catch((error) => {
  document.getElementById("content").replaceChildren(element("p", {}, `The document cannot be shown: ${error}`));
});
