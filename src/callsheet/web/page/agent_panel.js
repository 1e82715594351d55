// One agent: what it was asked, what it said and did, what came of it; and what can be done with it.

import { phaseName, standing, workedMs } from "./board.js";
import { button, h } from "./dom.js";
import { clockText, countText, durationText, grouped, moneyText, tokensText, untilText } from "./figures.js";
import { commandLine, cutNote } from "./overview.js";
import { statusTag } from "./status.js";

const MESSAGES_SHOWN = 60;
const TOOLS_SHOWN = 100;
const TEXT_CHARS = 6000;
const INPUT_CHARS = 160;

/** The panel of the agent that the address names. `page`: what the host says of it, null while it is asked. */
export function agentPanel(context, page, fault) {
  const { board, route, source, now } = context;
  const agent = board.agents.get(route.agent);
  if (!agent) {
    return h("aside", { class: "panel", key: "panel", "aria-labelledby": "agent-title" },
      panelHead("No such agent", null), h("p", { class: "empty" }, `This run has no agent ${route.agent}.`));
  }
  const status = standing(agent);
  return h("aside", { class: "panel", key: "panel", "aria-labelledby": "agent-title" },
    panelHead(agent.label, h("p", { class: "origin" }, statusTag(status), h("span", { class: "mono" }, agent.agent_id), h("span", null, phaseName(agent)),
      agent.asked_to ? h("span", { class: "chip" }, `asked to ${agent.asked_to}`) : null)),
    source.hasControl && agent.state !== "ended" && !board.said.is_over && board.isHeard ? agentControls(agent) : null,
    facts(agent, page, now),
    agent.error ? h("div", { class: "banner bad" }, h("pre", null, agent.error)) : null,
    fault ? h("p", { class: "banner wait" }, fault.message) : null,
    agent.messages.length ? peopleSaid(agent) : null,
    page ? body(context, agent, page) : fault ? null : h("p", { class: "empty" }, "Reading …"),
  );
}

function panelHead(title, more) {
  return h("header", { class: "panel-head" },
    h("div", { class: "title-line" },
      h("h2", { id: "agent-title", tabindex: "-1" }, title),
      h("span", { class: "gap" }),
      button("Close", "close-agent", { class: "quiet", "aria-label": "Close the agent (Escape)" })),
    more);
}

function agentControls(agent) {
  const isAtWork = agent.state === "running" || agent.state === "waiting";
  return h("p", { class: "controls", role: "group", "aria-label": "This agent" },
    button("Message …", "agent-message"),
    isAtWork ? button("Restart …", "agent-restart") : null,
    button("Skip …", "agent-skip"),
    button("Stop …", "agent-stop", { class: "danger" }));
}

function facts(agent, page, now) {
  const worked = workedMs(agent, now);
  const { usage } = agent;
  const cached = usage.cache_read_tokens + usage.cache_write_tokens;
  const rows = [
    ["Time", worked === null ? null : durationText(worked / 1000)],
    ["Tokens", `${tokensText(usage.output_tokens)} out${usage.input_tokens ? ` · ${tokensText(usage.input_tokens)} in` : ""}${cached ? ` · ${tokensText(cached)} cached` : ""}`],
    ["Cost", usage.cost_usd === null ? (agent.state === "ended" ? "unknown" : null) : moneyText(usage.cost_usd)],
    ["Model", agent.model],
    ["Doing", agent.state === "ended" ? null : [agent.doing, agent.until ? `until ${clockText(agent.until)} ${untilText(agent.until, now)}` : null, agent.reason].filter(Boolean).join(" · ")],
    ["Attempt", agent.attempt > 1 ? agent.attempt : null],
    ["Answer", agent.reused ? "from the record" : null],
    ["Branch", agent.branch],
    ["Started", agent.started_at ? clockText(agent.started_at) : null],
    ["Mode", page && page.mode !== "default" ? page.mode : null],
  ];
  return h("dl", { class: "pairs" }, rows.filter(([, value]) => value !== null && value !== "" && value !== undefined)
    .map(([name, value]) => h("div", { key: name }, h("dt", null, name), h("dd", null, value))));
}

function peopleSaid(agent) {
  return part("people", "Messages to it", h("ul", { class: "people" }, agent.messages.map((sent, at) =>
    h("li", { key: at }, h("p", { class: "quiet" }, `${sent.by}, ${clockText(sent.at)}${sent.taken ? "" : " · not taken yet"}`), h("p", { class: "words" }, sent.text)))));
}

function part(id, title, ...content) {
  return h("section", { key: id, "aria-labelledby": `agent-${id}` }, h("h3", { id: `agent-${id}` }, title), ...content);
}

function body({ board, source, ui }, agent, page) {
  const files = page.files_changed ?? [];
  const result = page.result === null || page.result === undefined ? null : typeof page.result === "string" ? page.result : JSON.stringify(page.result, null, 2);
  return [
    page.cut ? cutNote(page.cut) : null,
    part("prompt", "Prompt", longText(page.prompt, "prompt", ui)),
    result === null ? null : part("answer", "Answer", longText(result, "answer", ui)),
    conversation(page, ui),
    tools(page, ui),
    files.length || page.files_read?.length
      ? part("files", "Files",
          files.length ? h("ul", { class: "files" }, files.map((file) => h("li", { key: file }, h("b", null, "changed "), h("span", { class: "mono" }, file)))) : null,
          page.files_read?.length
            ? h("details", { key: "read" }, h("summary", null, `${countText(page.files_read.length, "file")} read`), h("ul", { class: "files" }, page.files_read.map((file) => h("li", { key: file }, h("span", { class: "mono" }, file)))))
            : null)
      : null,
    h("details", { key: "options" }, h("summary", null, "Options of the call"), h("pre", { class: "block" }, JSON.stringify(page.options ?? {}, null, 2))),
    agent.status && agent.status !== "ok" ? part("next", "Run it again", commandLine(`callsheet resume ${board.runId} --rerun ${agent.agent_id}`)) : null,
    source.isReport ? null : h("p", { key: "show" }, commandLine(`callsheet show ${board.runId} ${agent.agent_id} --full`)),
  ];
}

/** A text, cut where it is long until the reader asks for all of it. */
function longText(text, id, ui) {
  const isWhole = text.length <= TEXT_CHARS || ui.opened.has(id);
  return [
    h("pre", { class: "block", key: `${id}-text`, tabindex: text.length > 800 ? "0" : null }, isWhole ? text : text.slice(0, TEXT_CHARS)),
    isWhole ? null : h("p", { key: `${id}-more` }, button(`Show all ${grouped(text.length)} characters`, "open-text", { class: "quiet", data: { id } })),
  ];
}

function conversation(page, ui) {
  const messages = page.messages ?? [];
  if (!messages.length) return null;
  const shown = ui.opened.has("messages") ? messages : messages.slice(-MESSAGES_SHOWN);
  return part("conversation", "Conversation",
    shown.length < messages.length ? h("p", null, button(`Show ${grouped(messages.length - shown.length)} earlier messages`, "open-text", { class: "quiet", data: { id: "messages" } })) : null,
    h("ol", { class: "talk" }, shown.map((message, at) =>
      h("li", { key: message.n, class: `message ${message.role === "assistant" ? "assistant" : "user"}` },
        message.attempt !== (shown[at - 1]?.attempt ?? page.messages[0].attempt) ? h("p", { class: "quiet" }, `Attempt ${message.attempt}`) : null,
        h("p", { class: "who" }, message.person ? `${message.person} (a person)` : message.role === "assistant" ? "agent" : message.role === "user" ? "to the agent" : message.role),
        message.parts.map(({ text = "", ...one }, place) => messagePart({ ...one, text }, `m${message.n}-${place}`, ui))))));
}

function messagePart(one, id, ui) {
  if (one.kind === "text") return one.text ? h("div", { class: "said", key: id }, longText(one.text, id, ui)) : null;
  if (one.kind === "thinking") {
    return one.text ? h("details", { key: id, class: "thinking" }, h("summary", null, "thinking"), longText(one.text, id, ui)) : null;
  }
  if (one.kind === "tool_use") {
    return h("details", { key: id, class: "tool" },
      h("summary", null, h("b", { class: "mono" }, one.tool), " ", h("span", { class: "mono quiet" }, firstWords(one.text))), longText(one.text, id, ui));
  }
  const isLong = one.text.length > INPUT_CHARS || one.text.includes("\n");
  const name = one.kind === "tool_result" ? (one.failed ? "failed" : "result") : "other";
  if (!isLong) return h("p", { key: id, class: "tool-line" }, h("span", { class: one.failed ? "bad" : "quiet" }, `${name} `), h("span", { class: "mono" }, one.text));
  return h("details", { key: id, class: "tool", open: one.failed },
    h("summary", null, h("span", { class: one.failed ? "bad" : "quiet" }, `${name} `), h("span", { class: "mono quiet" }, firstWords(one.text))), longText(one.text, id, ui));
}

function firstWords(text) {
  const line = text.trimStart().split("\n", 1)[0];
  return line.length > INPUT_CHARS ? `${line.slice(0, INPUT_CHARS)}…` : line;
}

function tools(page, ui) {
  const all = page.tools ?? [];
  if (!all.length) return null;
  const shown = ui.opened.has("tools") ? all : all.slice(-TOOLS_SHOWN);
  return part("tools", countText(all.length, "tool call"),
    shown.length < all.length ? h("p", null, button(`Show ${grouped(all.length - shown.length)} earlier`, "open-text", { class: "quiet", data: { id: "tools" } })) : null,
    h("ol", { class: "tools-list" }, shown.map((tool) =>
      h("li", { key: tool.n },
        h("details", null,
          h("summary", null,
            h("span", { class: `dot ${toolClass(tool.state)}` }, tool.state === "intent" ? "under way" : tool.state), " ",
            h("b", { class: "mono" }, tool.tool), " ", h("span", { class: "mono quiet" }, firstWords(tool.input))),
          h("pre", { class: "block" }, tool.input),
          tool.detail ? h("pre", { class: "block" }, tool.detail) : null,
          h("p", { class: "quiet" }, clockText(tool.at)))))));
}

function toolClass(state) {
  return { done: "ok", failed: "bad", denied: "bad", intent: "run" }[state] ?? "off";
}
