// The table of agents: filtered, sorted, and only as much of it in the document as can be seen.

import { phaseName, standing, workedMs } from "./board.js";
import { button, h } from "./dom.js";
import { countText, durationText, grouped, moneyText, tokensText } from "./figures.js";
import { addressOf } from "./router.js";
import { STATUS_ORDER, statusTag, statusWord } from "./status.js";
import { VirtualList } from "./virtual.js";

const ROW_PX = 34;
const COLUMNS = [
  ["status", "Status", (agent) => STATUS_ORDER.indexOf(standing(agent))],
  ["label", "Agent", (agent) => agent.label.toLowerCase()],
  ["phase", "Phase", (agent) => phaseName(agent).toLowerCase()],
  ["doing", "Doing, or answered", null],
  ["model", "Model", (agent) => agent.model ?? ""],
  ["tokens", "Tokens", (agent) => -agent.usage.output_tokens],
  ["cost", "Cost", (agent) => -(agent.usage.cost_usd ?? -1)],
  ["time", "Time", (agent, now) => -(workedMs(agent, now) ?? -1)],
];
const NUMBERS = new Set(["tokens", "cost", "time"]);

/** The tab of all agents. It keeps its scroll position and the row that has the focus. */
export class AgentsTable {
  constructor() {
    this.list = new VirtualList({
      rowHeight: ROW_PX,
      key: (agent) => agent.agent_id,
      row: (agent) => this.row(agent),
    });
  }

  /** Brings it up to date, and gives it. */
  view(context) {
    this.context = context;
    const { board, route } = context;
    const shown = this.chosen(context);
    this.list.set(shown);
    return h("div", { key: "agents-tab", class: "page fill" },
      this.tools(context, shown.length),
      h("div", { class: "sheet fill" },
        h("div", { class: "grid", role: "grid", "aria-label": "Agents", "aria-rowcount": String(shown.length + 1), "aria-colcount": String(COLUMNS.length) },
          h("div", { role: "rowgroup" },
            h("div", { class: "grid-row head", role: "row", "aria-rowindex": "1" }, COLUMNS.map((column) => this.heading(column, route)))),
          this.list.element)),
      shown.length ? null : h("p", { class: "empty", key: "none" }, board.agents.size ? "No agent is like that." : "No agent has been called."));
  }

  heading([name, title, by], route) {
    const [sort, direction] = sortOf(route);
    const isSorted = sort === name;
    return h("div", {
      role: "columnheader", key: name, class: classOf(name), "aria-colindex": String(columnOf(name)),
      "aria-sort": by ? (isSorted ? (direction > 0 ? "ascending" : "descending") : "none") : null,
    }, by ? button([title, h("span", { class: "arrow", "aria-hidden": "true" }, isSorted ? (direction > 0 ? " ▲" : " ▼") : "")], "sort", { data: { column: name } }) : title);
  }

  tools({ board, route }, number) {
    const counts = board.counts();
    const phases = board.phaseList();
    return h("div", { class: "tools", role: "search", "aria-label": "Which agents" },
      h("input", { class: "search", type: "search", "aria-label": "Find an agent", id: "find", placeholder: "Find by label, id, answer, error", value: route.query.q, data: { query: "q" }, autocomplete: "off", spellcheck: "false" }),
      h("select", { "aria-label": "Status", data: { query: "status" } },
        h("option", { value: "", selected: !route.query.status }, "every status"),
        STATUS_ORDER.filter((status) => counts[status] || route.query.status === status).map((status) =>
          h("option", { key: status, value: status, selected: route.query.status === status }, `${statusWord(status)} (${grouped(counts[status] ?? 0)})`))),
      phases.length > 1
        ? h("select", { "aria-label": "Phase", data: { query: "phase" } },
            h("option", { value: "", selected: !route.query.phase }, "every phase"),
            phases.map((phase) => h("option", { key: phase.key, value: phase.key, selected: route.query.phase === phase.key }, phaseName(phase))))
        : null,
      h("span", { class: "quiet" }, countText(number, "agent")));
  }

  chosen({ board, route, now }) {
    const { q = "", status, phase } = route.query;
    const words = q.toLowerCase();
    let found = [...board.agents.values()];
    if (status) found = found.filter((agent) => standing(agent) === status);
    if (phase) found = found.filter((agent) => agent.phase_key === phase);
    if (words) found = found.filter((agent) => `${agent.label}\n${agent.agent_id}\n${agent.error ?? ""}\n${agent.preview ?? ""}\n${agent.doing ?? ""}`.toLowerCase().includes(words));
    const [sort, direction] = sortOf(route);
    const by = COLUMNS.find(([name]) => name === sort)?.[2];
    if (!by) return found;
    const keyed = found.map((agent, at) => [by(agent, now), at, agent]);
    keyed.sort(([one, first], [other, second]) => (one < other ? -direction : one > other ? direction : first - second));
    return keyed.map(([, , agent]) => agent);
  }

  row(agent) {
    const { board, route, now } = this.context;
    const worked = workedMs(agent, now);
    const words = agent.state === "ended" ? (agent.error ?? agent.preview ?? "") : [agent.asked_to ? `asked to ${agent.asked_to}` : null, agent.doing].filter(Boolean).join(" · ");
    const cell = (name, ...content) => h("div", { role: "gridcell", class: classOf(name), "aria-colindex": String(columnOf(name)) }, ...content);
    return h("div", { class: `grid-row${route.agent === agent.agent_id ? " chosen" : ""}` },
      cell("status", statusTag(standing(agent)), agent.reused ? h("span", { class: "chip", title: "Answered from the record" }, "reused") : null),
      cell("label", h("a", { class: "name clip", tabindex: "-1", title: agent.label, href: addressOf({ ...route, runId: board.runId, agent: agent.agent_id }) }, agent.label), h("span", { class: "quiet mono" }, agent.agent_id)),
      cell("phase", h("span", { class: "clip" }, phaseName(agent))),
      cell("doing", h("span", { class: agent.error ? "clip bad" : "clip quiet", title: words }, words)),
      cell("model", h("span", { class: "clip" }, agent.model ?? "")),
      cell("tokens", agent.usage.output_tokens ? tokensText(agent.usage.output_tokens) : ""),
      cell("cost", agent.usage.cost_usd === null ? (agent.state === "ended" ? "unknown" : "") : moneyText(agent.usage.cost_usd)),
      cell("time", worked === null ? "" : durationText(worked / 1000)));
  }
}

function classOf(name) {
  return NUMBERS.has(name) ? `n c-${name}` : `c-${name}`;
}

/** Its number, which it has also where there is no room for the columns before it. */
function columnOf(name) {
  return COLUMNS.findIndex(([own]) => own === name) + 1;
}

function sortOf(route) {
  const said = route.query.sort ?? "";
  return said.startsWith("-") ? [said.slice(1), -1] : [said, 1];
}

/** The order after a press on a heading: as it is called first, then the other way, then as agents were called. */
export function nextSort(route, column) {
  const [sort, direction] = sortOf(route);
  if (sort !== column) return column;
  return direction > 0 ? `-${column}` : "";
}
