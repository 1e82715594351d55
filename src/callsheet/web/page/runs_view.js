// The list of runs.

import { h } from "./dom.js";
import { ageText, countText, dateText, durationText, moneyText, timeOf, tokensText } from "./figures.js";
import { addressOf } from "./router.js";
import { statusTag } from "./status.js";

/** The page of all runs. */
export function runsView(source, query) {
  if (source.fault) return [h("p", { class: "banner bad", role: "alert" }, source.fault.message)];
  if (!source.runs) return [h("p", { class: "empty" }, "Looking for runs …")];
  if (!source.runs.length) {
    return [
      h("div", { class: "empty" },
        h("p", null, "No run is on record here yet."),
        h("p", null, "Start one: ", h("code", null, "callsheet run examples/tour/workflow.js --backend offline")),
      ),
    ];
  }
  const words = (query.q ?? "").toLowerCase();
  const shown = source.runs.filter(
    (run) => !words || `${run.workflow ?? ""} ${run.run_id} ${run.status} ${run.workspace ?? ""}`.toLowerCase().includes(words),
  );
  const live = shown.filter((run) => run.is_live);
  const past = shown.filter((run) => !run.is_live);
  return [
    h("div", { class: "tools" },
      h("input", { class: "search", type: "search", "aria-label": "Find a run", id: "find", placeholder: "Find a run", value: query.q, data: { query: "q" }, autocomplete: "off", spellcheck: "false" }),
      h("span", { class: "quiet" }, countText(shown.length, "run")),
    ),
    live.length ? runsTable("Going on", live, source.now()) : null,
    past.length ? runsTable("Over", past, source.now()) : null,
    shown.length ? null : h("p", { class: "empty" }, "No run is like that."),
  ];
}

function runsTable(title, runs, now) {
  const id = `runs-${title.toLowerCase().replace(" ", "-")}`;
  return h("section", { key: id, "aria-labelledby": id },
    h("h2", { id }, title),
    h("div", { class: "sheet" },
      h("table", { class: "runs", "aria-labelledby": id },
        h("thead", null,
          h("tr", null, [["Status"], ["Workflow"], ["Started"], ["Time", "n"], ["Agents", "n"], ["Tokens", "n"], ["Cost", "n"], ["Run"]]
            .map(([name, kind]) => h("th", { scope: "col", class: kind }, name))),
        ),
        h("tbody", null, runs.map((run) => runRow(run, now))),
      ),
    ),
  );
}

function runRow(run, now) {
  const started = timeOf(run.started_at);
  const taken = run.is_live && started !== null ? now - started : run.duration_ms;
  return h("tr", { key: run.run_id },
    h("td", null, statusTag(run.status)),
    h("td", { class: "wide" },
      h("a", { class: "name", href: addressOf({ runId: run.run_id }) }, run.workflow ?? "(no name)"),
      run.description ? h("div", { class: "quiet clip", title: run.description }, run.description) : null,
    ),
    h("td", { title: dateText(run.started_at) }, ageText(run.started_at, now)),
    number("Time", taken === null || taken === undefined ? null : durationText(taken / 1000)),
    number("Agents", run.agents),
    number("Tokens", tokensText(run.tokens)),
    number("Cost", moneyText(run.cost_usd)),
    h("td", { class: "mono quiet" }, run.run_id),
  );
}

/** A figure; where the table has no room for its headings, its name stands before it. */
function number(name, value) {
  return h("td", { class: "n", data: { name } }, value);
}
