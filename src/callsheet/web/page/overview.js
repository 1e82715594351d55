// What a reader sees first of a run: its phases, who is at work, what went wrong, what it said last.

import { phaseName, standing, workedMs } from "./board.js";
import { button, h } from "./dom.js";
import { clockText, countText, durationText, grouped, moneyText, timeOf, tokensText } from "./figures.js";
import { addressOf } from "./router.js";
import { meter } from "./run_head.js";
import { statusBar, statusSign, statusTag, statusWord } from "./status.js";

const AT_WORK_ROWS = 12;
const PROBLEM_ROWS = 5;
const LOG_ROWS = 12;
const RESULT_CHARS = 200_000;
const LOG_PAGE = 400;

/** The first tab. */
export function overview(context) {
  const { board } = context;
  return h("div", { class: "columns", key: "overview" },
    h("div", { class: "column" }, phasesTable(context), board.said.is_over ? null : atWork(context)),
    h("div", { class: "column" }, problemsShort(context), board.said.result ? resultShort(context) : null, logShort(context)),
  );
}

function section(id, title, ...content) {
  return h("section", { key: id, class: "card", "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), ...content);
}

function phasesTable({ board, route, now }) {
  const counts = board.countsByPhase();
  const phases = board.phaseList();
  if (!phases.length) return section("phases", "Phases", h("p", { class: "empty" }, "No agent has been called."));
  return section("phases", "Phases",
    h("table", { class: "phases" },
      h("thead", null, h("tr", null,
        h("th", { scope: "col" }, "Phase"), h("th", { scope: "col", class: "n" }, "Agents"), h("th", { scope: "col", class: "n" }, "Tokens out"),
        h("th", { scope: "col", class: "n" }, "Cost"), h("th", { scope: "col", class: "n" }, "Time"))),
      h("tbody", null, phases.map((phase) => phaseRow(phase, counts.get(phase.key) ?? {}, board, route, now)))));
}

function phaseRow(phase, counts, board, route, now) {
  const total = phase.queued + phase.running + phase.waiting + phase.ended;
  const start = timeOf(phase.started_at);
  const end = phase.ended < total ? now : timeOf(phase.ended_at);
  const budget = board.said.limits?.phase_budgets?.[phase.title ?? ""];
  return h("tr", { key: phase.key },
    h("td", { class: "wide" },
      h("a", { class: "name", href: addressOf({ runId: board.runId, view: "agents", agent: route.agent, query: { phase: phase.key } }) }, phaseName(phase)),
      phase.detail ? h("div", { class: "quiet clip", title: phase.detail }, phase.detail) : null,
      total ? statusBar(counts, { small: true }) : null,
      budget?.tokens ? meter(Math.min(1, phase.usage.output_tokens / budget.tokens), `of its budget of ${tokensText(budget.tokens)} tokens`) : null),
    h("td", { class: "n" }, total ? (phase.ended < total ? `${grouped(phase.ended)} / ${grouped(total)}` : grouped(total)) : "–",
      phase.ended_badly ? h("div", { class: "bad" }, `${grouped(phase.ended_badly)} not ok`) : null,
      phase.reused ? h("div", { class: "quiet" }, `${grouped(phase.reused)} reused`) : null),
    h("td", { class: "n" }, total ? tokensText(phase.usage.output_tokens) : ""),
    h("td", { class: "n" }, total ? (phase.usage.cost_usd === null ? "unknown" : moneyText(phase.usage.cost_usd)) : ""),
    h("td", { class: "n" }, start === null || end === null ? "" : durationText(Math.max(0, end - start) / 1000)));
}

function atWork({ board, route, now }) {
  const agents = [...board.agents.values()].filter((agent) => agent.state === "running" || agent.state === "waiting");
  const shown = agents.slice(0, AT_WORK_ROWS);
  return section("at-work", "At work",
    shown.length
      ? h("ul", { class: "lines" }, shown.map((agent) =>
          h("li", { key: agent.agent_id },
            statusSign(standing(agent)), h("span", { class: "away" }, statusWord(standing(agent))),
            h("a", { class: "clip", href: addressOf({ ...route, runId: board.runId, agent: agent.agent_id }) }, agent.label),
            h("span", { class: "quiet clip more" }, agent.doing ?? ""),
            h("span", { class: "n quiet" }, durationText((workedMs(agent, now) ?? 0) / 1000)))))
      : h("p", { class: "empty" }, "Nobody, just now."),
    agents.length > shown.length
      ? h("p", null, h("a", { href: addressOf({ runId: board.runId, view: "agents", query: { status: "running" } }) }, `All ${countText(agents.length, "agent")} at work`))
      : null);
}

function problemsShort(context) {
  const problems = context.board.problems();
  if (!problems.length) return null;
  return section("problems", "Problems",
    h("ul", { class: "problems" }, problems.slice(0, PROBLEM_ROWS).map((problem, at) => problemItem(problem, at, context))),
    problems.length > PROBLEM_ROWS
      ? h("p", null, h("a", { href: addressOf({ runId: context.board.runId, view: "problems" }) }, `All ${countText(problems.length, "problem")}`))
      : null);
}

function problemItem(problem, at, { board, route }) {
  const where = [problem.where === "agent" ? null : problem.where, problem.line ? `line ${problem.line}` : null].filter(Boolean).join(", ");
  return h("li", { key: `${problem.agent_id}-${at}` },
    h("p", { class: "problem-head" }, statusTag(problem.cause),
      problem.agent_id ? h("a", { href: addressOf({ ...route, runId: board.runId, agent: problem.agent_id }) }, problem.label || problem.agent_id) : problem.label,
      where ? h("span", { class: "quiet" }, where) : null,
      problem.count > 1 ? h("span", { class: "chip" }, `× ${grouped(problem.count)}`) : null),
    h("p", { class: "words" }, problem.message),
    problem.next ? commandLine(problem.next) : null);
}

/** A command that can be copied. */
export function commandLine(words) {
  return h("p", { class: "command" }, h("code", null, words), button("Copy", "copy", { class: "quiet", "aria-label": `Copy ${words}`, data: { text: words } }));
}

/** The tab of what went wrong. */
export function problemsView(context) {
  const { board } = context;
  const problems = board.problems();
  const denials = board.said.result?.denials ?? [];
  return h("div", { key: "problems-tab", class: "page" },
    problems.length
      ? h("ul", { class: "problems" }, problems.map((problem, at) => problemItem(problem, at, context)))
      : h("p", { class: "empty" }, board.said.is_over ? "Nothing went wrong." : "Nothing has gone wrong so far."),
    denials.length
      ? section("denials", "What agents were not allowed",
          h("ul", { class: "problems" }, denials.map((denial, at) =>
            h("li", { key: at },
              h("p", { class: "problem-head" }, h("b", { class: "mono" }, denial.tool), h("span", { class: "quiet" }, countText(denial.agents, "agent")), h("span", { class: "quiet" }, denial.rule)),
              h("pre", { class: "block" }, denial.input),
              denial.would_allow?.length ? h("p", { class: "quiet" }, "Would allow it: ", denial.would_allow.map((rule) => h("code", null, rule))) : null))))
      : null);
}

function resultText({ result, text: answer }) {
  if (answer !== undefined) return answer;
  const text = typeof result === "string" ? result : JSON.stringify(result, null, 2);
  return text === undefined ? "null" : text;
}

function resultShort({ board }) {
  const text = resultText(board.said.result);
  if (board.said.result.error) return null;
  return section("result", "Result",
    h("pre", { class: "block short", tabindex: "0", "aria-label": "The beginning of the result" }, text.slice(0, 1500)),
    text.length > 1500 ? h("p", null, h("a", { href: addressOf({ runId: board.runId, view: "result" }) }, "All of it")) : null);
}

/** The tab of what the script returned. */
export function resultView({ board, source }) {
  const { result } = board.said;
  if (!result) return h("p", { class: "empty", key: "result-tab" }, "The run has not ended.");
  const text = resultText(result);
  const changes = result.changes ?? [];
  return h("div", { key: "result-tab", class: "page" },
    result.cut ? cutNote(result.cut) : null,
    h("p", { class: "tools" }, button("Copy", "copy-result"), h("span", { class: "quiet" }, countText(text.length, "character"))),
    h("pre", { class: "block", tabindex: "0", "aria-label": "Result", id: "result-text" }, text.slice(0, RESULT_CHARS)),
    text.length > RESULT_CHARS
      ? h("p", { class: "quiet" }, `${countText(text.length - RESULT_CHARS, "character")} more: `, h("code", null, `callsheet show ${board.runId}`))
      : null,
    changes.length
      ? section("changes", "Files that changed", h("ul", { class: "files" }, changes.map((change, at) =>
          h("li", { key: at }, h("span", { class: "mono" }, change.path ?? JSON.stringify(change)), h("span", { class: "quiet" }, ` ${change.kind ?? change.change ?? ""}`)))))
      : null,
    source.isReport ? null : commandLine(`callsheet export ${board.runId}`));
}

/** What was left out of a report, and how to see it. */
export function cutNote(cut) {
  return h("p", { class: "cut" }, cut.what, cut.see ? [" All of it: ", h("code", null, cut.see)] : null);
}

function logLine(line) {
  return h("li", { key: line.seq, class: `log-line ${line.level}` },
    h("time", { class: "quiet mono", title: line.at }, clockText(line.at)),
    line.level === "info" ? null : h("span", { class: `level ${line.level === "error" ? "bad" : "wait"}` }, line.level),
    h("span", { class: "words" }, line.workflow ? h("span", { class: "quiet" }, `▸ ${line.workflow} `) : null, line.message));
}

function logShort({ board }) {
  if (!board.log.length) return null;
  return section("log", "Log", h("ol", { class: "log" }, board.log.slice(-LOG_ROWS).map(logLine)),
    board.said.log_lines > LOG_ROWS ? h("p", null, h("a", { href: addressOf({ runId: board.runId, view: "log" }) }, `All ${countText(board.said.log_lines, "line")}`)) : null);
}

/** The tab of the log. `shown`: how many of the last lines. */
export function logView({ board, route, ui }) {
  const words = (route.query.q ?? "").toLowerCase();
  const lines = words ? board.log.filter((line) => line.message.toLowerCase().includes(words)) : board.log;
  const shown = lines.slice(-(ui.logShown ?? LOG_PAGE));
  const missing = (board.said.log_lines ?? 0) - board.log.length;
  return h("div", { key: "log-tab", class: "page" },
    h("div", { class: "tools" },
      h("input", { class: "search", type: "search", "aria-label": "Find in the log", id: "find", placeholder: "Find in the log", value: route.query.q, data: { query: "q" }, autocomplete: "off", spellcheck: "false" }),
      h("span", { class: "quiet" }, countText(lines.length, "line")),
      lines.length > shown.length ? button(`Show ${grouped(Math.min(LOG_PAGE, lines.length - shown.length))} earlier`, "log-more") : null),
    missing > 0 ? h("p", { class: "cut" }, `${countText(missing, "earlier line")} not here. All of them: `, h("code", null, `callsheet logs ${board.runId}`)) : null,
    shown.length ? h("ol", { class: "log whole" }, shown.map(logLine)) : h("p", { class: "empty" }, words ? "No line has this." : "Nothing has been logged."));
}

/** How many more lines of the log one press shows. */
export function moreLog(ui) {
  ui.logShown = (ui.logShown ?? LOG_PAGE) + LOG_PAGE;
}
