// Elements. The only place that makes text, so that nothing of a run is ever anything but text: every text node goes through
// `visible`, every attribute through `oneLine`; there is no way to give markup, a handler or an address to elsewhere.

import { oneLine, visible } from "./safe_text.js";

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "rect", "line", "circle", "title", "polygon"]);
const ATTRIBUTES = new Set([
  "alt", "autocomplete", "checked", "cols", "d", "dir", "disabled", "download", "for", "height", "hidden", "href", "id", "lang",
  "maxlength", "min", "max", "name", "open", "placeholder", "points", "preserveAspectRatio", "readonly", "role", "rows", "scope",
  "selected", "spellcheck", "tabindex", "title", "type", "value", "viewBox", "width", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r",
  "focusable", "colspan", "method", "step", "required", "inputmode",
]);

/**
 * An element.
 *
 * @param {string} tag
 * @param {object|null} props `class`, `key` (keeps the element over renderings), `data` and `style` by name (`style` goes through the
 *   CSSOM, which the content security policy allows), attributes.
 * @param {...*} children Elements, texts, lists of both; null, undefined and false are nothing.
 */
export function h(tag, props, ...children) {
  const element = SVG_TAGS.has(tag) && tag !== "title" ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (name === "key") element.ownKey = String(value);
    else if (name === "style") for (const [each, what] of Object.entries(value)) element.style.setProperty(each, what);
    else if (name === "data") for (const [each, what] of Object.entries(value)) element.dataset[each] = String(what);
    else if (name === "href") element.setAttribute("href", ownAddress(value));
    else if (name.startsWith("aria-") || ATTRIBUTES.has(name)) element.setAttribute(name, value === true ? "" : oneLine(String(value)));
    else throw new Error(`no attribute of ours: ${name}`);
  }
  add(element, children);
  return element;
}

function ownAddress(address) {
  if (!/^(#|\/api\/)/.test(address)) throw new Error("links lead nowhere else");
  return address;
}

function add(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(element, child);
    else element.append(child instanceof Node ? child : document.createTextNode(visible(String(child))));
  }
}

/** Brings the children of an element to those wanted; what is the same stays, with its focus, selection and scroll position. */
export function sync(parent, ...wanted) {
  const fragment = document.createElement("div");
  const kept = new Set();
  const list = [];
  for (const want of wanted.flat(Infinity)) {
    if (want === null || want === undefined || want === false) continue;
    const node = want instanceof Node ? want : document.createTextNode(visible(String(want)));
    if (node.parentNode === parent) kept.add(node);
    else fragment.append(node);
    list.push(node);
  }
  reconcile(parent, list, kept);
}

function reconcile(parent, wanted, kept) {
  const keyed = new Map();
  for (const child of parent.childNodes) if (child.ownKey !== undefined) keyed.set(child.ownKey, child);
  let at = parent.firstChild;
  const put = (node) => {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  };
  for (const want of wanted) {
    if (kept.has(want)) {
      put(want);
      continue;
    }
    while (at && at.ownKey !== undefined && want.ownKey !== at.ownKey && !wanted.some((each) => each.ownKey === at.ownKey)) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
    let have = want.ownKey === undefined ? at : keyed.get(want.ownKey);
    if (have && (have.ownKey !== want.ownKey || kept.has(have))) have = null;
    if (have && have.nodeType === want.nodeType && have.nodeName === want.nodeName) {
      put(have);
      update(have, want);
    } else put(want);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function update(have, want) {
  if (have.nodeType === Node.TEXT_NODE) {
    if (have.data !== want.data) have.data = want.data;
    return;
  }
  for (const { name } of [...have.attributes]) {
    if (!want.hasAttribute(name) && name !== "style" && !(name === "open" && have.localName === "details")) have.removeAttribute(name);
  }
  for (const { name, value } of want.attributes) {
    if (name !== "style" && have.getAttribute(name) !== value) have.setAttribute(name, value);
  }
  if (have.style.cssText !== want.style.cssText) have.style.cssText = want.style.cssText;
  if (have.localName === "textarea") return;
  if (have.localName === "input") {
    if (have !== document.activeElement && have.value !== want.value) have.value = want.value;
    return;
  }
  const { value } = want;
  reconcile(have, [...want.childNodes], new Set());
  if (have.localName === "select" && have.value !== value) have.value = value;
}

const actions = new Map();

/** Says what is done where an element with this `data-act` is pressed: `(element, event) => …`. */
export function onAct(name, deed) {
  actions.set(name, deed);
}

/** Has presses anywhere in the document lead to their deeds. */
export function listen() {
  document.addEventListener("click", (event) => {
    const element = event.target instanceof Element ? event.target.closest("[data-act]") : null;
    if (element && !element.disabled) actions.get(element.dataset.act)?.(element, event);
  });
}

/** A button. */
export function button(words, act, { data = {}, ...props } = {}) {
  return h("button", { type: "button", ...props, data: { act, ...data } }, words);
}
