// The head of a run: how it stands, what it used, what it waits for, what it asks; and the tabs.

import { button, h } from "./dom.js";
import { clockText, countText, dateText, durationText, grouped, moneyText, tokensText, untilText } from "./figures.js";
import { addressOf, VIEWS } from "./router.js";
import { STATUS_ORDER, statusBar, statusSign, statusTag, statusWord } from "./status.js";

/** How the run stands, as one word. */
export function runStatus(said) {
  return said.lost && !said.result ? "interrupted" : said.status;
}

/** Name, status, controls, figures. */
export function runHead({ board, now, source, route }) {
  const { said } = board;
  const status = runStatus(said);
  const can = source.hasControl && !said.is_over && board.isHeard;
  return h("header", { class: "run-head", key: "head" },
    h("div", { class: "title-line" },
      h("h1", { id: "title", tabindex: "-1" }, said.workflow || said.run_id),
      statusTag(status),
      said.attempt > 1 ? h("span", { class: "chip" }, `attempt ${said.attempt}`) : null,
      h("span", { class: "gap" }),
      can
        ? h("span", { class: "controls", role: "group", "aria-label": "The run" },
            status === "paused" ? button("Go on", "run-go-on") : button("Pause", "run-pause"),
            button("Stop …", "run-stop", { class: "danger" }))
        : null,
      source.isReport ? null : h("a", { class: "button", href: `/api/runs/${encodeURIComponent(said.run_id)}/report`, download: true }, "Report"),
    ),
    said.description ? h("p", { class: "about" }, said.description) : null,
    h("p", { class: "origin dotted" },
      h("span", { class: "mono" }, said.run_id),
      h("span", null, `started ${dateText(said.started_at)}`),
      said.backend ? h("span", null, said.backend) : null,
      said.workspace ? h("span", null, h("span", { class: "clip path", title: said.workspace }, said.workspace)) : null),
    banners(board, source, now),
    h("dl", { class: "facts" },
      fact("Time", durationText(board.elapsedMs(now) / 1000)),
      fact("Agents", grouped(board.agents.size), agentsNote(said)),
      fact("Tokens out", tokensText(said.tokens), tokensNote(said.usage)),
      costFact(board),
      budgetBars(said),
    ),
    agentsLine(board, route),
    waitsLine(board, said, now),
  );
}

function fact(name, value, note = null) {
  return h("div", { key: name, class: "fact" }, h("dt", null, name), h("dd", null, value, note ? h("small", null, note) : null));
}

function agentsNote(said) {
  const { running = 0, waiting = 0, queued = 0 } = said.states ?? {};
  const parts = [[running, "at work"], [waiting, "waiting"], [queued, "queued"]].filter(([number]) => number);
  if (parts.length) return parts.map(([number, word]) => `${grouped(number)} ${word}`).join(" · ");
  return said.reused ? `${grouped(said.reused)} from the record` : null;
}

function tokensNote(usage = {}) {
  const cached = (usage.cache_read_tokens ?? 0) + (usage.cache_write_tokens ?? 0);
  return `${tokensText(usage.input_tokens ?? 0)} in${cached ? ` · ${tokensText(cached)} cached` : ""}`;
}

function costFact(board) {
  const { usd, isWhole } = board.cost();
  const estimated = board.said.result?.usage.estimated_usd;
  const note = !isWhole ? "of agents that ended" : estimated ? `${moneyText(estimated)} of it estimated` : null;
  return fact("Cost", usd === null ? "unknown" : moneyText(usd), note);
}

function budgetBars(said) {
  const { budget = {}, cost_stop_usd: stop } = said.limits ?? {};
  const usd = said.usage?.cost_usd ?? 0;
  return [
    budget.tokens ? budgetFact("Token budget", said.tokens, budget.tokens, tokensText) : null,
    budget.usd ? budgetFact("Cost budget", usd, budget.usd, moneyText) : null,
    stop && !budget.usd && !budget.tokens && usd >= stop / 10 ? budgetFact("Cost stop", usd, stop, moneyText) : null,
  ];
}

function budgetFact(name, spent, total, words) {
  const share = Math.min(1, spent / total);
  return h("div", { key: name, class: "fact budget" },
    h("dt", null, name),
    h("dd", null, `${Math.round((spent / total) * 100)} %`, h("small", null, `${words(spent)} of ${words(total)}`), meter(share, `${name}: ${words(spent)} of ${words(total)}`)),
  );
}

/** A bar of a share, 0 to 1. */
export function meter(share, label) {
  const kind = share >= 0.95 ? "bad" : share >= 0.8 ? "wait" : "run";
  return h("span", { class: "meter", role: "img", "aria-label": label },
    h("span", { class: `part ${kind}`, style: { width: `${(share * 100).toFixed(1)}%` } }));
}

function agentsLine(board, route) {
  const counts = board.counts();
  return h("div", { class: "agents-line" },
    statusBar(counts),
    h("ul", { class: "legend", "aria-label": "Agents by status" },
      STATUS_ORDER.filter((status) => counts[status]).map((status) =>
        h("li", { key: status },
          h("a", { href: addressOf({ runId: board.runId, view: "agents", agent: route.agent, query: { status } }) },
            statusSign(status), h("b", null, grouped(counts[status])), " ", statusWord(status))))),
  );
}

function waitsLine(board, said, now) {
  const waits = said.is_over ? [] : board.waits();
  const ofRun = !said.is_over && (said.reason || said.until) ? [{ what: said.reason ?? said.status, until: said.until }] : [];
  const every = [...ofRun, ...waits].slice(0, 4);
  if (!every.length) return null;
  return h("ul", { class: "waits", "aria-label": "What is waited for" },
    every.map((wait) =>
      h("li", { key: wait.what },
        statusSign("waiting"),
        wait.agents ? h("span", { class: "quiet" }, wait.agents === 1 ? "1 agent waits for " : `${grouped(wait.agents)} agents wait for `) : null,
        wait.what,
        wait.until ? h("span", { class: "quiet" }, ` until ${clockText(wait.until)} ${untilText(wait.until, now)}`) : null,
        wait.reason ? h("span", { class: "quiet" }, ` · ${wait.reason}`) : null)));
}

function banners(board, source, now) {
  const { said } = board;
  const error = said.result?.error;
  return [
    source.isReport && !said.is_over
      ? h("p", { class: "banner", key: "standing" }, `This run was going on when the report was written: it shows how things stood at ${dateText(source.report.written_at)}.`)
      : null,
    board.fault ? h("p", { class: "banner wait", key: "unheard" }, board.fault.message) : null,
    said.lost ? h("p", { class: "banner wait", key: "lost" }, said.lost) : null,
    error
      ? h("div", { class: "banner bad", key: "error" },
          h("b", null, error.kind), error.line ? `, line ${error.line}${error.column ? `, column ${error.column}` : ""}` : null,
          h("pre", null, error.message))
      : null,
    (said.warnings ?? []).map((warning) =>
      said.is_over || warning.share < 0.8 ? null
        : h("p", { class: "banner wait", key: `w-${warning.kind}-${warning.phase ?? ""}` },
            `${Math.round(warning.share * 100)} % of the ${warning.kind === "tokens" ? "token budget" : warning.kind === "usd" ? "budget" : "cost at which the run stops"}`,
            warning.phase ? ` of ${warning.phase}` : null, " is spent.")),
  ];
}

/** What a person is asked. */
export function questionsView({ board, source, now }) {
  const questions = board.said.questions ?? [];
  if (!questions.length) return null;
  const can = source.hasControl && board.isHeard && !board.said.is_over;
  return h("section", { class: "questions", key: "questions", "aria-labelledby": "questions-title" },
    h("h2", { id: "questions-title" }, questions.length === 1 ? "A question waits for you" : `${questions.length} questions wait for you`),
    questions.map((asked) => asked.script ? scriptQuestion({ board, source, now }, asked, can) :
      h("article", { class: "question", key: asked.id, "aria-label": `Question ${asked.id}: ${asked.tool}` },
        h("p", { class: "question-head" },
          h("b", { class: "mono" }, asked.kind === "cost" ? "cost" : asked.tool),
          h("span", { class: "quiet" }, ` ${asked.id} · ${countText(asked.agents, "agent")} ${asked.agents === 1 ? "waits" : "wait"}`,
            asked.until ? ` · ${asked.kind === "cost" ? "the run ends" : "counts as denied"} ${untilText(asked.until, now) || "now"}, at ${clockText(asked.until)}` : null)),
        asked.input ? h("pre", { class: "block", tabindex: "0", "aria-label": "What it would do" }, asked.input) : null,
        asked.reason ? h("p", null, asked.reason) : null,
        asked.rules.length ? h("p", { class: "quiet" }, "Always would add: ", asked.rules.map((rule, at) => [at ? ", " : null, h("code", null, rule)])) : null,
        can
          ? h("p", { class: "controls", role: "group", "aria-label": `Answer ${asked.id}` },
              answerButton(asked, asked.kind === "cost" ? `Allow ${moneyText(asked.more_usd)} more` : "Allow once", "once", "main"),
              asked.kind === "cost" ? answerButton(asked, "Another amount …", "amount") : null,
              asked.rules.length || asked.kind === "cost" ? answerButton(asked, asked.kind === "cost" ? "Lift the limit" : "For this run", "run") : null,
              asked.rules.length && asked.kind !== "cost" ? answerButton(asked, "For this project …", "project") : null,
              answerButton(asked, asked.kind === "cost" ? "End the run …" : "Deny …", "deny", "danger"))
          : board.said.is_over || source.isReport ? null
            : h("p", { class: "quiet" }, "Answer it: ", h("code", null, `callsheet answer ${board.runId} ${asked.id} yes|no${asked.rules.length || asked.kind === "cost" ? "|always" : ""}${asked.kind === "cost" ? "|AMOUNT" : ""}`)))));
}

/** Whether a script is to run that nobody has seen: what it says of itself, what a rehearsal told, and its text. */
function scriptQuestion({ board, source, now }, asked, can) {
  const { name, description, plan, text, left_out: leftOut, sha256 } = asked.script;
  return h("article", { class: "question", key: asked.id, "aria-label": `Question ${asked.id}: run the script ${name}?` },
    h("p", { class: "question-head" },
      h("b", null, `Run the script ${name}?`),
      h("span", { class: "quiet" }, ` ${asked.id}`,
        asked.until ? ` · the run ends ${untilText(asked.until, now) || "now"}, at ${clockText(asked.until)}` : null)),
    description ? h("p", null, description) : null,
    plan.length ? h("pre", { class: "block plan", tabindex: "0", "aria-label": "What it would do" }, plan.join("\n")) : null,
    h("details", { key: "script" },
      h("summary", null, `View the script (${countText(text.replace(/\n$/, "").split("\n").length, "line")}${leftOut ? ", cut" : ""})`),
      h("pre", { class: "block script", tabindex: "0", "aria-label": `The script ${name}` }, text),
      leftOut ? h("p", { class: "bad" }, `${grouped(leftOut)} characters more, which are on record and not shown here.`) : null,
      h("p", { class: "quiet" }, "sha256 ", h("code", null, sha256.slice(0, 12)))),
    asked.reason ? h("p", { class: "quiet" }, asked.reason) : null,
    can
      ? h("p", { class: "controls", role: "group", "aria-label": `Answer ${asked.id}` },
          answerButton(asked, "Run it", "once", "main"), answerButton(asked, "Run it and all after it", "run"), answerButton(asked, "Decline …", "deny", "danger"))
      : board.said.is_over || source.isReport ? null
        : h("p", { class: "quiet" }, "Answer it: ", h("code", null, `callsheet answer ${board.runId} ${asked.id} yes|no|always`)));
}

function answerButton(asked, words, verdict, kind = null) {
  return button(words, "answer", { class: kind, data: { question: asked.id, verdict, kind: asked.kind } });
}

/** The tabs of a run, as links. */
export function tabs({ board, route }) {
  const { said } = board;
  const problems = board.problems().reduce((sum, problem) => sum + (problem.count ?? 1), 0);
  const numbers = { agents: board.agents.size, log: said.log_lines, problems };
  return h("nav", { class: "tabs", key: "tabs", "aria-label": "Views of the run" },
    VIEWS.map(([view, name]) =>
      h("a", {
        key: view,
        href: addressOf({ runId: board.runId, view, agent: route.agent }),
        "aria-current": route.view === view ? "page" : null,
        class: view === "problems" && problems ? "has-problems" : null,
      }, name, numbers[view] ? h("small", null, grouped(numbers[view])) : null)));
}
