"use strict";
/* Compressed parts of this file, opened when they are needed. Text from a model only ever becomes a text node. */

const Blobs = (() => {
  const MAX_OPEN = 24;
  const opened = new Map(); // id -> promise of data, the least recently used first

  function bytesOf(base64) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
    const binary = atob(base64);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes;
  }

  async function text(id) {
    const element = document.getElementById(id);
    if (!element) throw new Error(`This file has no part ${id}: was it cut short?`);
    const stream = new Blob([bytesOf(element.textContent.trim())]).stream();
    return new Response(stream.pipeThrough(new DecompressionStream("gzip"))).text();
  }

  function json(id) {
    const known = opened.get(id);
    opened.delete(id);
    const wanted = known || text(id).then(JSON.parse);
    opened.set(id, wanted);
    if (opened.size > MAX_OPEN) opened.delete(opened.keys().next().value);
    return wanted;
  }

  return { text, json, forget: () => opened.clear() };
})();

/* An element with attributes and children; strings become text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "style") Object.assign(element.style, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/* A number for people: three digits that matter. */
function shown(value, digits = 3) {
  if (value === null || value === undefined) return "-";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(Math.max(digits - 2, 1));
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(digits)));
}
