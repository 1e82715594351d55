// How things stand with agents and runs: words, order, class (which has the colour) and sign. Never colour alone.

import { h } from "./dom.js";

const SIGNS = {
  dot: "M6 2.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7Z",
  ring: "M6 2a4 4 0 1 0 0 8a4 4 0 1 0 0-8Zm0 1.3a2.7 2.7 0 1 1 0 5.4a2.7 2.7 0 1 1 0-5.4Z",
  clock: "M6 1.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9Zm0 1.2a3.3 3.3 0 1 1 0 6.6a3.3 3.3 0 1 1 0-6.6ZM5.5 3.6h1v2.2l1.6 1l-.5.8L5.5 6.4Z",
  tick: "M4.8 9.6L1.6 6.4l1-1l2.2 2.2l4.6-4.7l1 1Z",
  cross: "M2.9 1.9L6 5l3.1-3.1l1 1L7 6l3.1 3.1l-1 1L6 7l-3.1 3.1l-1-1L5 6L1.9 2.9Z",
  bar: "M1.8 5.2h8.4v1.6H1.8Z",
  square: "M2.8 2.8h6.4v6.4H2.8Z",
  bang: "M5.2 1.6h1.6l-.25 5.4h-1.1ZM6 8.2a1 1 0 1 1 0 2a1 1 0 1 1 0-2Z",
  pause: "M3 2.2h2v7.6H3Zm4 0h2v7.6H7Z",
};

const KINDS = {
  running: ["running", "run", "dot"],
  waiting: ["waiting", "wait", "clock"],
  queued: ["queued", "idle", "ring"],
  ok: ["ok", "ok", "tick"],
  completed: ["completed", "ok", "tick"],
  degraded: ["degraded", "wait", "bang"],
  failed: ["failed", "bad", "cross"],
  invalid: ["invalid answer", "bad", "cross"],
  timed_out: ["timed out", "bad", "cross"],
  over_budget: ["over budget", "bad", "bang"],
  conflict: ["conflict", "bad", "bang"],
  skipped: ["skipped", "off", "bar"],
  cancelled: ["cancelled", "off", "square"],
  interrupted: ["interrupted", "wait", "bang"],
  reverted: ["undone", "off", "bar"],
  paused: ["paused", "wait", "pause"],
  stopping: ["stopping", "wait", "square"],
  starting: ["starting", "run", "dot"],
  threw: ["threw", "bad", "cross"],
  cap: ["over a limit", "bad", "bang"],
  denied: ["denied", "bad", "bar"],
};

/** Agents' statuses in the order in which they are shown. */
export const STATUS_ORDER = [
  "running", "waiting", "queued", "failed", "invalid", "timed_out", "over_budget", "conflict", "skipped", "cancelled", "reverted", "ok",
];

/** What the status is called. */
export function statusWord(status) {
  return KINDS[status]?.[0] ?? String(status);
}

/** The class that has its colour: `run wait idle ok bad off`. */
export function statusClass(status) {
  return KINDS[status]?.[1] ?? "off";
}

/** Whether something went wrong. */
export function isBad(status) {
  return statusClass(status) === "bad";
}

/** Its sign, which says nothing to a screen reader: the word does. */
export function statusSign(status) {
  return h(
    "svg",
    { class: `sign ${statusClass(status)}`, viewBox: "0 0 12 12", width: "12", height: "12", "aria-hidden": "true", focusable: "false" },
    h("path", { d: SIGNS[KINDS[status]?.[2] ?? "bar"] }),
  );
}

/** Sign and word. */
export function statusTag(status, words = statusWord(status)) {
  return h("span", { class: `status ${statusClass(status)}` }, statusSign(status), words);
}

/** The bar of how many are in each status, and beneath it each with its number. `counts`: by status. */
export function statusBar(counts, { small = false } = {}) {
  const present = STATUS_ORDER.filter((status) => counts[status]);
  const order = [...present].sort((one, other) => barRank(one) - barRank(other));
  const words = present.map((status) => `${counts[status]} ${statusWord(status)}`).join(", ") || "no agents yet";
  const total = Math.max(1, present.reduce((sum, status) => sum + counts[status], 0));
  return h(
    "span",
    { class: small ? "bar small" : "bar", role: "img", "aria-label": words, title: words },
    order.map((status) =>
      h("span", { class: `part ${statusClass(status)}`, key: status, style: { "flex-grow": String(counts[status] / total) } }),
    ),
  );
}

function barRank(status) {
  return ["ok", "off", "bad", "wait", "run", "idle"].indexOf(statusClass(status));
}
