// Agents over time: a line for each, and above them how many were at work.

import { standing } from "./board.js";
import { button, h } from "./dom.js";
import { clockText, countText, durationText, timeOf, tokensText } from "./figures.js";
import { addressOf } from "./router.js";
import { statusClass, statusSign, statusWord } from "./status.js";
import { VirtualList } from "./virtual.js";

const ROW_PX = 22;
const STEPS = 240; // of the curve
const STEP_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400];
const TICKS = 8;
const LEAST_MS = 200;

/** The tab of the timeline. It keeps the stretch of time that is shown. */
export class Timeline {
  constructor(redraw) {
    this.redraw = redraw;
    this.range = null; // null: all of it
    this.list = new VirtualList({
      rowHeight: ROW_PX, role: "listitem", boxRole: "list", label: "Agents over time",
      key: (agent) => agent.agent_id, row: (agent) => this.row(agent),
    });
    this.list.element.classList.add("lanes");
    this.list.element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.curve = h("div", { class: "curve" });
    this.brush();
  }

  /** Brings it up to date, and gives it. */
  view(context) {
    this.context = context;
    const { board, now } = context;
    const agents = [...board.agents.values()]
      .filter((agent) => timeOf(agent.queued_at) !== null || timeOf(agent.started_at) !== null)
      .sort((one, other) => order(one) - order(other) || one.call - other.call);
    this.whole = span(board, agents, now);
    const [from, to] = this.shown();
    const within = this.range ? agents.filter((agent) => begin(agent) <= to && (timeOf(agent.ended_at) ?? now) >= from) : agents;
    this.list.set(within);
    return h("div", { key: "timeline-tab", class: "page fill" },
      h("div", { class: "tools" },
        h("span", { class: "controls", role: "group", "aria-label": "Zoom" },
          button("−", "time-out", { "aria-label": "A longer stretch" }), button("All", "time-all"), button("+", "time-in", { "aria-label": "A shorter stretch" }),
          button("←", "time-left", { "aria-label": "Earlier", disabled: !this.range }), button("→", "time-right", { "aria-label": "Later", disabled: !this.range })),
        h("span", { class: "quiet" }, countText(within.length, "agent"), ` · ${durationText((to - from) / 1000)} from ${clockText(new Date(from).toISOString())}`),
        h("span", { class: "quiet hint" }, "drag over the curve, or Ctrl and wheel, to look closer")),
      agents.length ? [this.drawCurve(agents, now), this.axis(from, to), this.list.element] : h("p", { class: "empty" }, "No agent has been called."));
  }

  shown() {
    return this.range ?? this.whole;
  }

  row(agent) {
    const { board, route, now } = this.context;
    const [from, to] = this.shown();
    const at = (time) => `${Math.min(100, Math.max(0, ((time - from) / (to - from)) * 100)).toFixed(3)}%`;
    const queued = timeOf(agent.queued_at);
    const started = timeOf(agent.started_at);
    const ended = timeOf(agent.ended_at) ?? now;
    const status = standing(agent);
    const worked = started === null ? null : durationText((ended - started) / 1000);
    const words = [agent.label, statusWord(status), worked, agent.usage.output_tokens ? `${tokensText(agent.usage.output_tokens)} tokens` : null].filter(Boolean).join(", ");
    return h("div", { class: `lane${route.agent === agent.agent_id ? " chosen" : ""}`, title: words },
      h("span", { class: "lane-name" }, statusSign(status),
        h("a", { class: "clip", tabindex: "-1", href: addressOf({ ...route, runId: board.runId, agent: agent.agent_id }), "aria-label": words }, agent.label)),
      h("span", { class: "lane-track" },
        queued !== null && (started === null || started - queued > 0)
          ? h("span", { class: "stretch queue", style: { left: at(queued), right: `calc(100% - ${at(started ?? ended)})` } })
          : null,
        started === null ? null : h("span", { class: `stretch ${statusClass(status)}`, style: { left: at(started), right: `calc(100% - ${at(ended)})` } })));
  }

  axis(from, to) {
    const seconds = (to - from) / 1000;
    const step = STEP_S.find((each) => seconds / each <= TICKS) ?? Math.ceil(seconds / TICKS / 86400) * 86400;
    const start = this.whole[0];
    const ticks = [];
    for (let time = start + Math.ceil((from - start) / 1000 / step) * step * 1000; time <= to && ticks.length < 40; time += step * 1000) {
      ticks.push(h("span", { key: time, class: "tick", style: { left: `${((time - from) / (to - from)) * 100}%` } }, tickText((time - start) / 1000)));
    }
    return h("div", { class: "axis", key: "axis", "aria-hidden": "true" }, h("span", { class: "lane-name" }), h("span", { class: "lane-track" }, ticks));
  }

  /** How many were at work, over all of the time. */
  drawCurve(agents, now) {
    const [from, to] = this.whole;
    const changes = new Array(STEPS + 1).fill(0);
    const step = (time) => Math.min(STEPS, Math.max(0, Math.ceil(((time - from) / (to - from)) * STEPS - 0.5)));
    for (const agent of agents) {
      const started = timeOf(agent.started_at);
      if (started === null) continue;
      changes[step(started)] += 1;
      changes[step(timeOf(agent.ended_at) ?? now)] -= 1;
    }
    let level = 0;
    const levels = changes.slice(0, STEPS).map((change) => (level += change));
    const most = Math.max(1, ...levels);
    const points = levels.map((each, at) => `L${at} ${(40 - (each / most) * 38).toFixed(2)}L${at + 1} ${(40 - (each / most) * 38).toFixed(2)}`).join("");
    const [shownFrom, shownTo] = this.shown();
    const part = (time) => ((time - from) / (to - from)) * STEPS;
    this.curve.replaceChildren(
      h("span", { class: "lane-name quiet" }, `at work, up to ${most}`),
      h("span", { class: "lane-track" },
        h("svg", { viewBox: `0 0 ${STEPS} 40`, preserveAspectRatio: "none", width: "100%", height: "40", role: "img", "aria-label": `How many agents were at work over time, up to ${most}` },
          h("path", { class: "area", d: `M0 40${points}L${STEPS} 40Z` }),
          this.range ? h("rect", { class: "window", x: part(shownFrom).toFixed(2), y: "0", width: Math.max(0.5, part(shownTo) - part(shownFrom)).toFixed(2), height: "40" }) : null)));
    return this.curve;
  }

  // --- the stretch that is shown ---

  /** Shows a stretch of time, within all of it. */
  show(from, to) {
    const [first, last] = this.whole;
    const length = Math.max(LEAST_MS, Math.min(to - from, last - first));
    const start = Math.min(Math.max(from, first), last - length);
    this.range = length >= (last - first) * 0.999 ? null : [start, start + length];
    this.redraw();
  }

  zoomBy(factor, around = null) {
    const [from, to] = this.shown();
    const middle = around ?? (from + to) / 2;
    this.show(middle - (middle - from) * factor, middle + (to - middle) * factor);
  }

  moveBy(share) {
    const [from, to] = this.shown();
    this.show(from + (to - from) * share, to + (to - from) * share);
  }

  showAll() {
    this.range = null;
    this.redraw();
  }

  wheel(event) {
    if (!event.ctrlKey || !this.whole) return;
    event.preventDefault();
    const track = this.list.element.querySelector(".lane-track")?.getBoundingClientRect();
    if (!track) return;
    const [from, to] = this.shown();
    this.zoomBy(event.deltaY > 0 ? 1.25 : 0.8, from + ((event.clientX - track.left) / track.width) * (to - from));
  }

  brush() {
    let start = null;
    const timeAt = (event) => {
      const track = this.curve.querySelector(".lane-track").getBoundingClientRect();
      const [from, to] = this.whole;
      return from + Math.min(1, Math.max(0, (event.clientX - track.left) / track.width)) * (to - from);
    };
    this.curve.addEventListener("pointerdown", (event) => {
      start = timeAt(event);
      this.curve.setPointerCapture(event.pointerId);
    });
    this.curve.addEventListener("pointerup", (event) => {
      if (start === null) return;
      const end = timeAt(event);
      const [from, to] = this.whole;
      if (Math.abs(end - start) > (to - from) / 200) this.show(Math.min(start, end), Math.max(start, end));
      start = null;
    });
    this.curve.addEventListener("pointercancel", () => (start = null));
  }
}

function begin(agent) {
  return timeOf(agent.queued_at) ?? timeOf(agent.started_at);
}

function order(agent) {
  return timeOf(agent.started_at) ?? Number.MAX_SAFE_INTEGER;
}

function span(board, agents, now) {
  let from = timeOf(board.said.started_at) ?? Infinity;
  let to = board.said.is_over ? -Infinity : now;
  for (const agent of agents) {
    from = Math.min(from, begin(agent));
    to = Math.max(to, timeOf(agent.ended_at) ?? timeOf(agent.started_at) ?? -Infinity);
  }
  if (!Number.isFinite(from)) return [now - 1000, now];
  return [from, Math.max(to, from + 1000)];
}

function tickText(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m${seconds % 60 ? ` ${Math.round(seconds % 60)} s` : ""}`;
  return `${Math.floor(seconds / 3600)} h${Math.round((seconds % 3600) / 60) ? ` ${Math.round((seconds % 3600) / 60)} m` : ""}`;
}
